// All rooms as tiles: a grid, or on wide screens a list beside the selected room. Each room keeps
// its tile, in which only changes are written.

import { byId, el, everyFrame, setAttr, setText } from "./dom.js";
import { face } from "./face.js";
import { heardAt, microphone, on, rooms, titled } from "./store.js";
import { ago, ALL, count, locale, many, percent, tr } from "./words.js";

const list = byId("tiles");
const filter = byId("filter");
const sort = byId("sort");
const tiles = new Map();
const REORDER_MS = 1000;

let selected = null;
let reordered = 0;
let later = 0;

/** The state of a room in a word, for people and for the filter. */
export function condition(room) {
  const now = microphone(room);
  if (now === "quiet") return "quiet hours";
  if (now === "missing") return "no microphone";
  if (now !== "open") return now;
  if (room.speech) return "speaking";
  return room.telemetry?.trouble ? "trouble" : "";
}

function makeTile(name) {
  const parts = {
    name: el("span", { class: "tile-name" }, name),
    face: el("span", { class: "tile-face" }),
    emotion: el("span", { class: "tile-emotion" }),
    sure: el("span", { class: "tile-sure" }),
    when: el("span", { class: "tile-when" }),
    state: el("span", { class: "tile-state" }),
  };
  const link = el("a", { class: "tile", href: `#/room/${encodeURIComponent(name)}` },
    parts.face,
    el("span", { class: "tile-line" }, parts.name, parts.state),
    el("span", { class: "tile-line" }, parts.emotion, parts.sure, parts.when));
  return { item: el("li", {}, link), link, parts, emotion: undefined };
}

function draw(tile, room) {
  const { parts, link } = tile;
  const state = condition(room);
  const emotion = state === "offline" ? null : room.emotion;
  if (tile.emotion !== emotion) {
    tile.emotion = emotion;
    parts.face.replaceChildren(face(emotion));
  }
  setAttr(link, "data-state", state);
  setText(parts.name, titled(room.name));
  setText(parts.state, tr(state));
  setText(parts.emotion, tr(room.emotion ?? "not heard yet"));
  setText(parts.sure, room.emotion === null || room.confidence === null ? "" : percent(room.confidence));
  drawTime(tile, room);
}

function drawTime(tile, room) {
  const heard = heardAt(room);
  setText(tile.parts.when, heard ? ago(heard) : "");
}

const ORDERS = {
  name: (a, b) => titled(a.name).localeCompare(titled(b.name), locale, { numeric: true }),
  heard: (a, b) => heardAt(b) - heardAt(a) || ORDERS.name(a, b),
  emotion: (a, b) =>
    ALL.indexOf(a.emotion ?? "uncertain") - ALL.indexOf(b.emotion ?? "uncertain")
    || ORDERS.name(a, b),
};

function wanted(room, words) {
  const text = `${room.name} ${titled(room.name)} ${room.emotion ?? ""} ${tr(room.emotion)} `
    + `${condition(room)} ${tr(condition(room))} `
    + (room.online ? `online ${tr("online")}` : "");
  return words.every((word) => text.toLowerCase().includes(word));
}

/** Sort the tiles, moving only those that are out of place. */
function arrange() {
  reordered = Date.now();
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const order = [...rooms.values()].filter((room) => tiles.has(room.name) && wanted(room, words)).sort(ORDERS[sort.value]);
  let place = list.firstElementChild;
  for (const room of order) {
    const { item } = tiles.get(room.name);
    if (item === place) place = place.nextElementSibling;
    else list.insertBefore(item, place);
  }
  while (place) {
    const next = place.nextElementSibling;
    place.remove();
    place = next;
  }
  const empty = byId("rooms-empty");
  empty.hidden = order.length > 0;
  setText(empty, tr(rooms.size ? "No room matches the filter." : "No rooms yet."));
  sum(order.length);
}

function sum(fitting) {
  let online = 0;
  let offline = 0;
  let speaking = 0;
  for (const room of rooms.values()) {
    if (room.online === false) offline += 1;
    else if (room.online) online += 1; // else its status has never come
    if (condition(room) === "speaking") speaking += 1;
  }
  const parts = [many(rooms.size, "room", "rooms"), tr("{n} online", { n: count(online) })];
  if (offline) parts.push(tr("{n} offline", { n: count(offline) }));
  if (speaking) parts.push(tr("{n} speaking", { n: count(speaking) }));
  if (filter.value.trim()) parts.push(tr("{n} shown", { n: count(fitting) }));
  setText(byId("rooms-sum"), parts.join(" \u00b7 "));
}

/** Sort again, at most once a second, and not while the pointer is on a tile. */
function arrangeSoon() {
  if (later) return;
  const held = list.matches(":hover, :focus-within") && list.childElementCount === rooms.size;
  const wait = held ? REORDER_MS : Math.max(0, reordered + REORDER_MS - Date.now());
  later = setTimeout(() => {
    later = 0;
    if (list.matches(":hover, :focus-within") && list.childElementCount === rooms.size) {
      sum(list.childElementCount);
      arrangeSoon();
    } else arrange();
  }, wait);
}

on("about", () => {
  for (const [name, tile] of tiles) if (rooms.has(name)) draw(tile, rooms.get(name));
  arrangeSoon();
});
on("rooms", (names) => {
  let news = false;
  for (const name of names) {
    const room = rooms.get(name);
    if (!room) {
      tiles.get(name)?.item.remove();
      tiles.delete(name);
      continue;
    }
    if (!tiles.has(name)) {
      tiles.set(name, makeTile(name));
      news = true;
    }
    draw(tiles.get(name), room);
  }
  if (news) {
    select(selected);
    arrange();
  } else arrangeSoon();
});

const arrangeNow = everyFrame(arrange);
filter.addEventListener("input", arrangeNow);
sort.addEventListener("change", arrangeNow);
filter.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !filter.value) return;
  filter.value = "";
  arrangeNow();
});

export function select(name) {
  selected = name;
  for (const [own, tile] of tiles) setAttr(tile.link, "aria-current", own === name ? "true" : null);
}

/** Update the times. */
export function tick() {
  for (const [name, tile] of tiles) {
    if (tile.item.isConnected && rooms.has(name)) drawTime(tile, rooms.get(name));
  }
}
