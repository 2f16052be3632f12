// Startup, navigation between views, and the page around them.

import { byId, setAttr, setText } from "./dom.js";
import * as history from "./history.js";
import { ask, connect } from "./link.js";
import * as overview from "./overview.js";
import * as room from "./room.js";
import { about, on, rooms, titled } from "./store.js";
import { tr, trMessage } from "./words.js";

const main = byId("main");
const VIEWS = { rooms: overview, room, history };
let shown = null;

/** The view and room in the address after the #. */
function route() {
  const [view, name] = location.hash.replace(/^#\/?/, "").split("/");
  if (view === "room" && name) return ["room", decodeURIComponent(name)];
  if (view === "history" || view === "rooms") return [view, ""];
  // A single room is shown at once.
  return rooms.size === 1 ? ["room", [...rooms.keys()][0]] : ["rooms", ""];
}

function show({ focus = false } = {}) {
  const [view, name] = route();
  const key = `${view}/${name}`;
  document.title = { rooms: tr("Rooms"), history: tr("History") }[view] ?? titled(name);
  document.title += " \u2013 serd";
  main.dataset.view = view;
  main.toggleAttribute("data-single", rooms.size <= 1);
  byId("rooms").hidden = view === "history" || (view === "room" && rooms.size <= 1);
  byId("room").hidden = view !== "room";
  byId("history").hidden = view !== "history";
  for (const link of document.querySelectorAll("[data-nav]")) {
    const current = link.dataset.nav === (view === "history" ? "history" : "rooms");
    setAttr(link, "aria-current", current ? "page" : null);
  }
  overview.select(view === "room" ? name : null);
  if (key === shown) return;
  if (shown !== null) VIEWS[shown.split("/")[0]].leave?.();
  shown = key;
  VIEWS[view].enter?.(name);
  if (focus) {
    byId(view === "room" ? "room-title" : `${view}-title`).focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function showLink() {
  const state = about.link !== "live" ? about.link : about.connected ? "live" : "broker";
  const words = {
    connecting: tr("connecting"), lost: tr("connection lost"), live: tr("live"), broker: tr("no broker"),
  };
  setAttr(byId("link"), "data-state", state);
  setText(byId("link-text"), words[state]);
  let notice = "";
  if (state === "lost") notice = tr("Connection to the dashboard lost. Trying again\u2026");
  if (state === "broker") {
    notice = tr("No connection to the MQTT broker: {reason}. What you see may be outdated.", { reason: trMessage(about.reason) });
  }
  byId("notice").hidden = !notice;
  setText(byId("notice"), notice);
  main.toggleAttribute("data-stale", state === "lost" || state === "broker");
  if (about.version) setText(byId("foot"), `serd ${about.version} \u00b7 ${about.broker}`);
}

function showTheme() {
  const { choice } = globalThis.serdTheme;
  setText(byId("theme"), tr("Theme: {name}", { name: tr(choice) }));
}

byId("theme").addEventListener("click", () => {
  globalThis.serdTheme.next();
  showTheme();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view
  main.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || route()[0] !== "room" || rooms.size <= 1) return;
  if (event.target.matches("input, select")) return;
  location.hash = "#/rooms";
});
addEventListener("hashchange", () => show({ focus: true }));
on("about", showLink);
on("rooms", () => show());

showTheme();
showLink();
show();
connect();
ask("api/info").then((info) => {
  byId("logout").hidden = !info.login;
}).catch(() => {});
setInterval(() => {
  overview.tick();
  room.tick();
}, 10_000);
