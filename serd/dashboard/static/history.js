// History: any time, room and emotion, as a mood band, as a row per emotion and as a table.

import { Bins, frequent } from "./bins.js";
import { corrector, knowOf } from "./correct.js";
import { byId, el, setText, svg } from "./dom.js";
import { face } from "./face.js";
import { ask } from "./link.js";
import { Ribbon } from "./ribbon.js";
import { on, rooms, titled } from "./store.js";
import { ALL, count, decibels, locale, many, moment, percent, tr, signed } from "./words.js";

const BINS = 240;
const DAY_MS = 86_400_000;
const PAGE = 100;
const MOST = 2000; // of one request

const ribbon = new Ribbon(byId("history-mood"), tr("the mood"));
const node = byId("query-node");
const range = byId("query-range");
let open = false;
let asked = 0;
let fitting = false;
let fitted = false; // the range was chosen: by the user, or because it fits the data
let events = []; // the latest first
let older = null; // the query by which earlier ones are found; null if there are none
let shown = 0;
let sums = { total: 0, truncated: false };
let journalled = []; // names of the rooms in the journals

for (const emotion of ALL) {
  byId("query-emotions").append(el("label", { class: "chip" },
    el("input", { type: "checkbox", name: "emotion", value: emotion }), face(emotion), el("span", {}, tr(emotion))));
}

export async function enter() {
  open = true;
  names();
  ask("api/info").then(({ history }) => {
    journalled = history.nodes;
    names();
  }).catch(() => {});
  if (!fitted) {
    fitting = true;
    await fit();
    fitting = false;
  }
  if (open) load();
}

/** Choose the shortest range that shows all of the last 24 hours, or else of the last 30 days. */
async function fit() {
  const lengths = [...range.options].map((option) => Number(option.value)).filter(Boolean);
  const now = Date.now();
  for (const longest of [DAY_MS, lengths.at(-1)]) {
    const found = await ask(`api/timeline?since=${now - longest}&bins=${BINS}`).catch(() => null);
    if (fitted || !found?.total) continue;
    fitted = true;
    const age = now - Math.min(...found.bins.map((bin) => bin.start_ms));
    range.value = String(lengths.find((length) => age <= length) ?? longest);
  }
}

export function leave() {
  open = false;
}

/** Offer the rooms that there are, and those of which only a journal knows. */
function names() {
  const found = [...new Set([...rooms.keys(), ...journalled])].map((name) => [name, titled(name)])
    .sort(([, one], [, other]) => one.localeCompare(other, locale, { numeric: true }));
  const key = JSON.stringify(found);
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  const chosen = node.value;
  node.replaceChildren(node.options[0], ...found.map(([name, title]) => el("option", { value: name }, title)));
  node.value = chosen;
  if (node.value === chosen) return;
  node.value = ""; // the chosen room was forgotten
  load();
}

function times() {
  const now = Date.now();
  if (range.value !== "own") return [now - Number(range.value), now];
  const since = Date.parse(byId("query-since").value);
  const until = Date.parse(byId("query-until").value);
  return [Number.isNaN(since) ? now - DAY_MS : since, Number.isNaN(until) ? now : until];
}

function query() {
  const [since, until] = times();
  const words = new URLSearchParams({ since, until });
  if (node.value) words.set("node", node.value);
  for (const box of byId("query-emotions").querySelectorAll(":checked")) words.append("emotion", box.value);
  return words;
}

async function load() {
  asked += 1;
  const mine = asked;
  const words = query();
  setText(byId("history-sum"), tr("Reading\u2026"));
  try {
    const [timeline, found] = await Promise.all([
      ask(`api/timeline?${words}&bins=${BINS}`), ask(`api/events?${words}&limit=${MOST}`),
    ]);
    if (mine !== asked) return;
    const bins = Bins.from(timeline);
    sums = timeline;
    events = [];
    shown = 0;
    byId("history-table").replaceChildren();
    take(found, words);
    byId("history-json").href = `api/events?${words}&limit=all`;
    byId("history-csv").href = `api/events?${words}&limit=all&format=csv`;
    showResults(true);
    ribbon.show(bins);
    drawRows(bins);
    drawMore();
  } catch (error) {
    if (mine !== asked) return;
    setText(byId("history-sum"), error.message);
    showResults(false); // those of another query would be taken for this one's
  }
}

function showResults(shows) {
  for (const card of byId("history").querySelectorAll(".card")) card.hidden = !shows;
}

/** Add the events that a query has found, and remember how to find earlier ones. */
function take(found, words) {
  knowOf(found);
  const there = new Set(events.map((event) => event.id));
  const fresh = found.events.filter((event) => !there.has(event.id)).reverse();
  events.push(...fresh);
  older = null;
  if (!found.truncated || !fresh.length) return;
  older = new URLSearchParams(words);
  // The end is exclusive, and others may have begun in the same millisecond.
  older.set("until", Date.parse(events.at(-1).started_at) + 1);
}

function drawSum() {
  const more = (sums.truncated ? tr("; too many to show at once, so the oldest are left out") : "")
    + (older ? tr("; the table has the latest {n}, and Show more reads earlier ones", { n: count(events.length) }) : "");
  setText(byId("history-sum"), many(sums.total, "utterance", "utterances") + more);
}

/** A row for each emotion, with bars for its frequency. */
function drawRows(bins) {
  const counts = {};
  let most = 1;
  for (const bin of bins.byStart.values()) {
    for (const [name, number] of Object.entries(bin.emotions)) {
      counts[name] = (counts[name] ?? 0) + number;
      most = Math.max(most, number);
    }
  }
  const wide = BINS;
  const rows = ALL.filter((name) => counts[name]).map((name) => {
    const d = bins.list().filter((bin) => bin.emotions[name]).map((bin) => {
      const x = (bin.start_ms - bins.since) / bins.binMs;
      const high = Math.max(2, (bin.emotions[name] / most) * 22);
      return `M${x.toFixed(2)} 24v${-high.toFixed(1)}h1v${high.toFixed(1)}z`;
    });
    return el("div", { class: `strip emo-${name}` }, face(name), el("span", { class: "strip-name" }, tr(name)),
      svg("svg", { viewBox: `0 0 ${wide} 24`, preserveAspectRatio: "none", class: "strip-bars", role: "img", "aria-label": `${tr(name)}: ${many(counts[name], "utterance", "utterances")}` },
        svg("path", { d: d.join("") })),
      el("span", { class: "figure" }, count(counts[name])));
  });
  byId("history-rows").replaceChildren(...(rows.length ? rows : [el("p", { class: "empty" }, tr("Nobody spoke in this time."))]));
  byId("history-rows").dataset.most = frequent(counts)[0]?.[0] ?? "";
}

/** Show another page of the events. */
function drawMore() {
  byId("history-table").append(...events.slice(shown, shown + PAGE).map((event) => el("tr", {},
    el("td", {}, el("time", { datetime: event.started_at }, moment(Date.parse(event.started_at)))),
    el("td", {}, titled(event.node)),
    el("td", {}, el("span", { class: "with-face" }, face(event.emotion), tr(event.emotion))),
    ...[percent(event.confidence), signed(event.valence), signed(event.arousal), decibels(event.level_dbfs)]
      .map((text) => el("td", { class: "num" }, text)),
    el("td", {}, corrector(event)))));
  shown = Math.min(shown + PAGE, events.length);
  byId("history-more").hidden = shown === events.length && !older;
  drawSum();
}

byId("history-more").addEventListener("click", async () => {
  if (shown + PAGE > events.length && older) {
    const mine = asked;
    const words = older;
    byId("history-more").disabled = true;
    try {
      const found = await ask(`api/events?${words}&limit=${MOST}`);
      if (mine !== asked) return;
      take(found, words);
    } catch (error) {
      if (mine === asked) setText(byId("history-sum"), error.message);
      return;
    } finally {
      byId("history-more").disabled = false;
    }
  }
  drawMore();
});
byId("query").addEventListener("submit", (event) => event.preventDefault());
byId("query").addEventListener("change", () => {
  fitted = true;
  for (const field of ["query-since-field", "query-until-field"]) byId(field).hidden = range.value !== "own";
  load();
});
on("rooms", () => {
  if (open) names();
});
on("again", () => {
  if (open && !fitting) load();
});
