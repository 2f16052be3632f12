// What the page knows: the rooms by name, and what the dashboard says of itself. Changes are told
// to whoever asked, at most once a frame.

import { everyFrame } from "./dom.js";

export const rooms = new Map();
/** What people call a room: its title, else its name. */
export const titled = (name) => rooms.get(name)?.title || name;
export const about = { connected: false, reason: "connecting", link: "connecting" };

const asked = { rooms: [], events: [], about: [], again: [] };
let changed = new Set();
let events = [];

const tell = everyFrame(() => {
  const names = changed;
  const came = events;
  changed = new Set();
  events = [];
  if (names.size) for (const listen of asked.rooms) listen(names);
  if (came.length) for (const listen of asked.events) listen(came);
});

/** Be told: of "rooms" (a set of names), "events" (a list), "about", or "again" (all is new). */
export const on = (what, listen) => asked[what].push(listen);

export function setRooms(list, { all = false } = {}) {
  if (all) {
    for (const name of rooms.keys()) changed.add(name);
    rooms.clear();
  }
  for (const room of list) {
    rooms.set(room.name, room);
    changed.add(room.name);
  }
  tell();
}

/** These were forgotten. */
export function dropRooms(names) {
  for (const name of names) {
    rooms.delete(name);
    changed.add(name);
  }
  tell();
}

export function addEvents(list) {
  // A page in the background draws nothing; what it misses there it reads from the history.
  events = events.concat(list).slice(-1000);
  tell();
}

export function setAbout(more) {
  Object.assign(about, more);
  for (const listen of asked.about) listen();
}

export function startAgain() {
  for (const listen of asked.again) listen();
}

/**
 * How a room's microphone is: open, muted, quiet, missing, offline or unknown. Nothing is known of
 * a room that was never heard of, nor while the dashboard or the broker cannot be reached.
 */
export function microphone(room) {
  if (!room || about.link !== "live" || !about.connected) return "unknown";
  return room.microphone;
}

/** When a room was last heard, milliseconds since 1970; 0 for never. */
export const heardAt = (room) => (room.event ? Date.parse(room.event.ended_at) : 0);
