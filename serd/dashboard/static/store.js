// The state of the page: the rooms by name, and the dashboard's own state. Listeners are called at
// most once per frame.

import { everyFrame } from "./dom.js";

export const rooms = new Map();
/** The display name of a room: its title, or its name. */
export const titled = (name) => rooms.get(name)?.title || name;
export const about = { connected: false, reason: "connecting", link: "connecting" };

/** The server's time, by which it stamps what it sends: clocks of browsers may be wrong. */
export const serverNow = () => Date.now() + (about.ahead ?? 0);

const listeners = { rooms: [], events: [], about: [], again: [] };
let changed = new Set();
let events = [];

const notify = everyFrame(() => {
  const names = changed;
  const came = events;
  changed = new Set();
  events = [];
  if (names.size) for (const listen of listeners.rooms) listen(names);
  if (came.length) for (const listen of listeners.events) listen(came);
});

/** Listen to "rooms" (a set of names), "events" (a list), "about", or "again" (everything is new). */
export const on = (what, listen) => listeners[what].push(listen);

export function setRooms(list, { all = false } = {}) {
  if (all) {
    for (const name of rooms.keys()) changed.add(name);
    rooms.clear();
  }
  for (const room of list) {
    rooms.set(room.name, room);
    changed.add(room.name);
  }
  notify();
}

/** Remove forgotten rooms. */
export function dropRooms(names) {
  for (const name of names) {
    rooms.delete(name);
    changed.add(name);
  }
  notify();
}

export function addEvents(list) {
  // A page in the background draws nothing, and reads what it missed from the history.
  events = events.concat(list).slice(-1000);
  notify();
}

export function setAbout(more) {
  Object.assign(about, more);
  if (more.now_ms) about.ahead = more.now_ms - Date.now();
  for (const listen of listeners.about) listen();
}

export function startAgain() {
  for (const listen of listeners.again) listen();
}

/**
 * The state of a room's microphone: open, muted, quiet, missing, offline or unknown. It is unknown
 * for rooms that have never reported, and while the dashboard or the broker cannot be reached.
 */
export function microphone(room) {
  if (!room || about.link !== "live" || !about.connected) return "unknown";
  return room.microphone;
}

/** Time of a room's last utterance, milliseconds since 1970; 0 if there is none. */
export const heardAt = (room) => (room.event ? Date.parse(room.event.ended_at) : 0);
