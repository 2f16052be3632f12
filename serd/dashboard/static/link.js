// The connection to the server: the stream of changes, which reconnects, and single requests.

import { about, addEvents, dropRooms, setAbout, setRooms, startAgain } from "./store.js";
import { tr, trMessage } from "./words.js";

const SILENCE_MS = 40_000; // the server sends something every 15 s
const SLOWEST_MS = 10_000;

let source = null;
let pause = 500;
let watchdog = 0;

/** Request JSON. Throws an Error whose message is for people. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Error(tr("The dashboard cannot be reached."));
  }
  if (response.status === 401) {
    location.assign("login");
    throw new Error(tr("Please log in again."));
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ? trMessage(body.error) : tr("The dashboard answers {status}.", { status: response.status }));
  return body;
}

export const send = (path, content) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
  });

function alive() {
  clearTimeout(watchdog);
  watchdog = setTimeout(lost, SILENCE_MS);
}

function lost() {
  source?.close();
  source = null;
  clearTimeout(watchdog);
  if (about.link !== "full") setAbout({ link: "lost" });
  // An EventSource does not say why it failed, but a request does: perhaps the session has ended, or
  // there are too many browsers.
  ask("api/info").then(({ full }) => full, () => false).then((full) => {
    if (about.link !== "live") setAbout({ link: full ? "full" : "lost" });
  });
  setTimeout(connect, pause);
  pause = Math.min(SLOWEST_MS, pause * 2);
}

export function connect() {
  if (source) return;
  source = new EventSource("api/stream");
  const take = (kind, work) =>
    source.addEventListener(kind, (message) => {
      alive();
      work(JSON.parse(message.data));
    });
  alive();
  take("hello", ({ info, rooms }) => {
    pause = 500;
    setRooms(rooms, { all: true });
    setAbout({ ...info, link: "live" });
    startAgain();
  });
  take("rooms", (list) => setRooms(list));
  take("gone", dropRooms);
  take("events", addEvents);
  take("info", setAbout);
  take("missed", startAgain);
  take("ping", () => {});
  source.onerror = lost;
}

addEventListener("online", () => {
  if (!source) connect();
});
