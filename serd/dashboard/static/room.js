// One room: its current state, mood band, microphone and health.

import { Bins } from "./bins.js";
import { busy, corrector, know, knowOf } from "./correct.js";
import { byId, el, everyFrame, setAttr, setText } from "./dom.js";
import { face } from "./face.js";
import { ask, send } from "./link.js";
import { condition } from "./overview.js";
import { Plane } from "./plane.js";
import { Ribbon } from "./ribbon.js";
import { heardAt, microphone, on, rooms, serverNow, titled } from "./store.js";
import {
  ago, count, decibels, duration, EMOTIONS, finePercent, fullScale, known, many, MICROPHONE, percent, REASONS, seconds, tr, unit,
} from "./words.js";

const KEPT = 12;
const ANNOUNCE_MS = 10_000;
const REDRAW_MS = 2000;
const SILENT_MS = 300_000; // a node publishes its state every 30 s
const RANGES = [
  { text: "15 min", ms: 900_000, bins: 90 },
  { text: "1 h", ms: 3_600_000, bins: 120 },
  { text: "6 h", ms: 21_600_000, bins: 180 },
  { text: "24 h", ms: 86_400_000, bins: 288 },
];

let name = null;
let range = RANGES[3];
let chosen = false; // the range was chosen by the user; otherwise it fits the data
let recent = [];
const rows = new Map(); // of recent events, by id
let shownEvent = null; // the event that the correction under "Now" applies to
let bins = null;
let shownFace;
let announced = { at: 0, text: "" };
let redraw = 0;
let pending = null; // the requested state of the switch
let refused = ""; // why the last command failed
let reported = {}; // the correction in the room's latest state, and its event
const plane = new Plane(byId("plane"), byId("plane-words"));
const ribbon = new Ribbon(byId("day"), tr("the mood"));

const scores = new Map(EMOTIONS.map((emotion) => {
  const fill = el("span", { class: `score-fill emo-${emotion}` });
  const figure = el("span", { class: "figure" });
  const item = el("li", {}, el("span", { class: "score-name" }, tr(emotion)), el("span", { class: "score-bar", "aria-hidden": "true" }, fill), figure);
  byId("scores").append(item);
  return [emotion, { item, fill, figure }];
}));

for (const one of RANGES) {
  const input = el("input", { type: "radio", name: "day-range", value: one.ms, checked: one === range });
  input.addEventListener("change", () => {
    range = one;
    chosen = true;
    loadDay();
  });
  byId("day-range").append(el("label", {}, input, el("span", {}, one.text)));
}

export function enter(wanted) {
  name = wanted;
  recent = [];
  rows.clear();
  byId("recent").replaceChildren();
  shownEvent = null;
  byId("now-correct").replaceChildren();
  bins = null;
  if (!chosen) range = RANGES.at(-1);
  pending = null;
  refused = "";
  reported = {};
  shownFace = undefined;
  ribbon.show(new Bins(Date.now() - range.ms, Date.now(), range.ms / range.bins));
  draw();
  load();
}

export function leave() {
  name = null;
}

function load() {
  if (name === null) return;
  const wanted = name;
  ask(`api/events?node=${encodeURIComponent(wanted)}&limit=${KEPT}`).then((found) => {
    if (name !== wanted) return;
    knowOf(found);
    const known = new Set(found.events.map((event) => event.id));
    recent = [...found.events, ...recent.filter((event) => !known.has(event.id))].slice(-KEPT);
    draw();
  }).catch(() => {});
  loadDay();
}

function loadDay() {
  const wanted = name;
  const binMs = range.ms / range.bins;
  const until = Math.ceil(Date.now() / binMs) * binMs;
  const query = `node=${encodeURIComponent(wanted)}&since=${until - range.ms}&until=${until}&bins=${range.bins}`;
  ask(`api/timeline?${query}`).then((answer) => {
    if (name !== wanted) return;
    bins = Bins.from(answer);
    if (!chosen) {
      const first = Math.min(until, ...bins.byStart.keys());
      const fits = RANGES.find((one) => until - first < one.ms - binMs) ?? range;
      byId("day-range").querySelector(`[value="${fits.ms}"]`).checked = true;
      if (fits !== range) {
        range = fits;
        loadDay();
        return;
      }
    }
    ribbon.show(bins);
  }).catch(() => {});
}

function drawDaySoon() {
  if (redraw) return;
  redraw = setTimeout(() => {
    redraw = 0;
    if (name === null || !bins) return;
    bins.roll(Date.now());
    // Not while the pointer is on it.
    if (!byId("day").querySelector(".mark.on")) ribbon.show(bins);
  }, REDRAW_MS);
}

function draw() {
  const room = rooms.get(name);
  setText(byId("room-title"), titled(name));
  drawPills(room);
  drawNow(room);
  drawScores(room?.event);
  plane.show(room, room?.event && !recent.length ? [room.event] : recent);
  drawRecent();
  drawCorrection(room);
  drawMute(room);
  drawHealth(room);
  drawForget(room);
}

function drawPills(room) {
  const pills = [];
  if (!room) pills.push([tr("unknown room"), "bad"]);
  else if (room.online === false) pills.push([tr("offline"), "bad"]);
  else if (serverNow() - room.seen_ms > SILENT_MS) pills.push([tr("no sign of life for {time}", { time: duration((serverNow() - room.seen_ms) / 1000) }), "bad"]);
  else if (room.online === null) pills.push([tr("not known yet"), "plain"]);
  else pills.push([tr("online"), "good"]);
  const now = microphone(room);
  if (now === "muted") pills.push([tr("muted"), "plain"]);
  if (now === "quiet") pills.push([tr("quiet hours"), "plain"]);
  if (now === "missing") pills.push([tr("microphone missing"), "bad"]);
  if (room && condition(room) === "speaking") pills.push([tr("speaking"), "talk"]);
  const key = JSON.stringify(pills);
  const list = byId("pills");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...pills.map(([text, kind]) => el("li", { class: `pill ${kind}` }, text)));
}

function drawNow(room) {
  const event = room?.event;
  const latest = room?.emotion ?? null;
  const emotion = room?.online === false ? null : latest;
  byId("now").className = `card now emo-${emotion === null ? "none" : known(emotion)}`;
  if (shownFace !== emotion) {
    shownFace = emotion;
    byId("now-face").replaceChildren(face(emotion));
  }
  setText(byId("now-emotion"), latest === null ? tr("silence") : tr(latest));
  setText(byId("now-sure"), latest !== null && room.confidence !== null ? tr(latest === "uncertain" ? "{share} at best" : "{share} sure", { share: percent(room.confidence) }) : tr("Nothing heard yet."));
  drawTime(room);
  setText(byId("now-mood"), room?.mood ? tr("Mood of the room: {emotion}", { emotion: tr(room.mood) }) : "");
  const level = event ? Math.max(-60, Math.min(0, event.level_dbfs)) : -60;
  byId("level-fill").style.setProperty("--share", ((level + 60) / 60).toFixed(3));
  setAttr(byId("level"), "aria-valuenow", level.toFixed(1));
  setAttr(byId("level"), "aria-valuetext", event ? fullScale(event.level_dbfs) : tr("none"));
  setText(byId("level-text"), event ? decibels(event.level_dbfs) : "");
  announce(room);
}

function drawTime(room) {
  const heard = room ? heardAt(room) : 0;
  setText(byId("now-when"), heard ? ago(heard) : "");
}

/** Announce to screen readers, but not every utterance of a lively conversation. */
function announce(room) {
  if (!room?.event) return;
  const text = `${titled(room.name)}: ${tr(room.event.emotion)}`;
  const now = Date.now();
  if (text === announced.text || now - announced.at < ANNOUNCE_MS) return;
  announced = { at: now, text };
  setText(byId("announce"), text);
}

function drawScores(event) {
  for (const [emotion, { item, fill, figure }] of scores) {
    const share = event?.scores[emotion] ?? 0;
    fill.style.setProperty("--share", share.toFixed(3));
    setText(figure, event ? percent(share) : "");
    item.classList.toggle("lead", Boolean(event) && share === event.confidence);
  }
}

function drawRecent() {
  byId("recent-empty").hidden = recent.length > 0;
  const list = byId("recent");
  const wanted = recent.slice(-8).reverse();
  for (const [id, row] of rows) {
    if (wanted.some((event) => event.id === id) || busy(row) || row.contains(document.activeElement)) continue;
    row.remove();
    rows.delete(id);
  }
  // Existing rows stay in place: the user may be correcting one.
  wanted.forEach((event, at) => {
    if (!rows.has(event.id)) rows.set(event.id, recentRow(event));
    const row = rows.get(event.id);
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
  });
}

const recentRow = (event) => el("li", {},
  el("time", { datetime: event.ended_at }, seconds(Date.parse(event.ended_at))),
  face(event.emotion),
  el("span", { class: "recent-emotion" }, tr(event.emotion)),
  el("span", { class: "figure" }, percent(event.confidence)),
  el("span", { class: "figure soft" }, decibels(event.level_dbfs)),
  corrector(event));

function drawCorrection(room) {
  const box = byId("now-correct");
  learn(room);
  const event = room?.event ?? recent.at(-1) ?? null;
  // While its menu is open the box stays with its utterance, and says which one that is.
  if (shownEvent === (event?.id ?? null) || busy(box)) return;
  shownEvent = event?.id ?? null;
  const focused = box.contains(document.activeElement);
  box.replaceChildren(...(event ? [corrector(event, { label: true })] : []));
  if (focused) box.querySelector("summary")?.focus();
}

/** Take the correction in the room's state, which may have been made or undone elsewhere. */
function learn(room) {
  const { event_id: id = null, corrected = null } = room ?? {};
  // Only its changes: the state may be older than what was just corrected here.
  if (id === null || (id === reported.id && corrected === reported.corrected)) return;
  if (corrected !== null || id === reported.id) know({ [id]: corrected });
  reported = { id, corrected };
}

const drawCorrectionSoon = everyFrame(() => {
  if (name !== null) drawCorrection(rooms.get(name));
});
for (const kind of ["toggle", "focusout"]) byId("now-correct").addEventListener(kind, drawCorrectionSoon, true);

function drawMute(room) {
  const button = byId("mute");
  const now = microphone(room);
  // The switch is on while the microphone is.
  setAttr(button, "aria-checked", String(now === "open"));
  setAttr(button, "aria-busy", pending === null ? null : "true");
  setAttr(button, "data-microphone", now);
  // In quiet hours and without a microphone, nothing that it could send would open it.
  button.disabled = now !== "open" && now !== "muted";
  setText(byId("mute-label"), tr(MICROPHONE[now]));
  const note = byId("mute-note");
  note.classList.toggle("wrong", refused !== "");
  const doing = pending === null ? "" : tr(pending ? "Closing\u2026" : "Opening\u2026");
  setText(note, doing || refused || tr(REASONS[now] ?? ""));
}

byId("mute").addEventListener("click", async () => {
  const room = rooms.get(name);
  if (!room || pending !== null) return;
  pending = microphone(room) === "open"; // the opposite of what the switch shows
  refused = "";
  drawMute(room);
  try {
    await send(`api/nodes/${encodeURIComponent(room.name)}/mute`, { muted: pending });
  } catch (error) {
    if (name === room.name) refused = error.message;
  } finally {
    if (name === room.name) {
      pending = null;
      drawMute(rooms.get(name));
    }
  }
});

const FORGET_MS = 6000; // a second press within this time confirms
let confirming = 0;

function drawForget(room) {
  const box = byId("forget");
  box.hidden = !room || room.online !== false;
  if (box.hidden) confirming = 0;
  setText(byId("forget-button"), confirming ? tr("Forget {room} for good", { room: titled(room.name) }) : tr("Forget this room"));
}

byId("forget-button").addEventListener("click", async () => {
  const room = rooms.get(name);
  if (!room) return;
  const note = byId("forget-note");
  if (!confirming) {
    setText(note, tr("Removes it here, and its device in Home Assistant. Past events stay. Press again to confirm."));
    confirming = setTimeout(() => {
      confirming = 0;
      setText(note, "");
      drawForget(rooms.get(name));
    }, FORGET_MS);
    drawForget(room);
    return;
  }
  clearTimeout(confirming);
  confirming = 0;
  setText(note, "");
  try {
    await ask(`api/nodes/${encodeURIComponent(room.name)}`, { method: "DELETE" });
    if (name === room.name) location.hash = "#/rooms";
  } catch (error) {
    setText(note, error.message);
  }
  drawForget(rooms.get(name));
});

function drawHealth(room) {
  const telemetry = room?.telemetry ?? {};
  const rows = [[tr("State"), tr(telemetry.condition ?? (room?.online === false ? "offline" : "not known yet"))]];
  if (telemetry.trouble) rows.push([tr("Problem"), telemetry.trouble]);
  if (telemetry.uptime_s !== undefined) rows.push([tr("Running for"), duration(telemetry.uptime_s)]);
  if (telemetry.events !== undefined) rows.push([tr("Events since then"), count(telemetry.events)]);
  if (typeof telemetry.latency_ms === "number") rows.push([tr("Latency"), unit(telemetry.latency_ms, "ms")]);
  if (typeof telemetry.cpu_percent === "number") rows.push([tr("Processor"), finePercent(telemetry.cpu_percent / 100)]);
  if (typeof telemetry.rss_mb === "number") rows.push([tr("Memory"), unit(telemetry.rss_mb, "MB")]);
  if (telemetry.waiting) rows.push([tr("Waiting for the broker"), many(telemetry.waiting, "event", "events")]);
  if (telemetry.events_lost) rows.push([tr("Lost"), many(telemetry.events_lost, "event", "events")]);
  if (room?.missed) rows.push([tr("Missed here"), many(room.missed, "event", "events")]);
  const { model } = room?.event ?? {};
  if (model) rows.push([tr("Model"), `${model.name} ${model.version}`]);
  if (telemetry.version) rows.push([tr("Version"), telemetry.version]);
  const list = byId("health");
  const key = JSON.stringify(rows);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, String(text)))));
}

export function tick() {
  if (name === null) return;
  const room = rooms.get(name);
  drawPills(room);
  drawTime(room);
  drawDaySoon();
}

on("about", () => {
  if (name !== null) draw();
});
on("rooms", (names) => {
  if (name !== null && names.has(name)) draw();
});
on("events", (events) => {
  const own = events.filter((event) => event.node === name);
  if (!own.length) return;
  const known = new Set(recent.map((event) => event.id));
  const fresh = own.filter((event) => !known.has(event.id));
  recent = [...recent, ...fresh].slice(-KEPT);
  for (const event of fresh) bins?.add(event);
  draw();
  drawDaySoon();
});
on("again", load);
ask("api/info").then(({ emotions }) => plane.name(emotions)).catch(() => {});
