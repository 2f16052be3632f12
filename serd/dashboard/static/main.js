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
const SETTLED_MS = 3000;
let shown = null;
let only = { name: null, since: 0 }; // the room that was shown because there was no other

function decoded(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a percent sign that escapes nothing
  }
}

/** The view and room in the address after the #. */
function route() {
  const [view, name] = location.hash.replace(/^#\/?/, "").split("/");
  if (view === "room" && name) return ["room", decoded(name)];
  if (view === "history" || view === "rooms") return [view, ""];
  return single() ? ["room", only.name] : ["rooms", ""];
}

/** Whether a room is shown without being asked for: the only one. It stays when others come. */
function single() {
  const [first] = rooms.keys();
  if (rooms.size === 1 && only.name !== first) only = { name: first, since: Date.now() };
  // When a dashboard has just been started, its rooms come one by one.
  return rooms.has(only.name) && (rooms.size === 1 || Date.now() - only.since > SETTLED_MS);
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
    full: tr("not connected"),
  };
  setAttr(byId("link"), "data-state", state);
  setText(byId("link-text"), words[state]);
  let notice = "";
  if (state === "lost") notice = tr("Connection to the dashboard lost. Trying again\u2026");
  if (state === "full") notice = tr("Too many browsers are connected to the dashboard. Trying again\u2026");
  if (state === "broker") {
    const reason = trMessage(about.reason);
    notice = tr("No connection to the MQTT broker: {reason} What you see may be outdated.", { reason: /[.?!]$/.test(reason) ? reason : `${reason}.` });
  }
  byId("notice").hidden = !notice;
  setText(byId("notice"), notice);
  main.toggleAttribute("data-stale", ["lost", "full", "broker"].includes(state));
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
  if (event.target.matches("input:not([type=range], [type=radio]), select")) return;
  location.hash = "#/rooms";
});
addEventListener("hashchange", () => {
  only = { name: null, since: 0 };
  show({ focus: true });
});
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
