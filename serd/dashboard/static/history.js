// History: any time, room and emotion, as a mood band, as a row per emotion and as a table.

import { Bins, frequent } from "./bins.js";
import { corrector, know } from "./correct.js";
import { byId, el, setText, svg } from "./dom.js";
import { face } from "./face.js";
import { ask } from "./link.js";
import { Ribbon } from "./ribbon.js";
import { on, rooms, titled } from "./store.js";
import { ALL, decibels, many, moment, percent, tr, signed } from "./words.js";

const BINS = 240;
const DAY_MS = 86_400_000;
const PAGE = 100;
const MOST = 2000;

const ribbon = new Ribbon(byId("history-mood"), tr("the mood"));
const node = byId("query-node");
const range = byId("query-range");
let open = false;
let asked = 0;
let fitting = false;
let fitted = false; // the range was chosen: by the user, or because it fits the data
let events = [];
let shown = PAGE;

for (const emotion of ALL) {
  byId("query-emotions").append(el("label", { class: "chip" },
    el("input", { type: "checkbox", name: "emotion", value: emotion }), face(emotion), el("span", {}, tr(emotion))));
}

export async function enter() {
  open = true;
  names();
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

function names() {
  const there = new Set([...node.options].map((option) => option.value));
  for (const name of [...rooms.keys()].sort()) {
    if (!there.has(name)) node.append(el("option", { value: name }, titled(name)));
  }
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
    know(found.corrections);
    events = found.events.reverse();
    shown = PAGE;
    const more = timeline.truncated ? tr("; too many to show at once, so the oldest are left out") : "";
    setText(byId("history-sum"), many(timeline.total, "utterance", "utterances") + more);
    byId("history-json").href = `api/events?${words}&limit=5000`;
    byId("history-csv").href = `api/events?${words}&limit=5000&format=csv`;
    ribbon.show(bins);
    drawRows(bins);
    drawTable();
  } catch (error) {
    if (mine === asked) setText(byId("history-sum"), error.message);
  }
}

/** A row for each emotion, with bars for its frequency. */
function drawRows(bins) {
  const sums = {};
  let most = 1;
  for (const bin of bins.byStart.values()) {
    for (const [name, count] of Object.entries(bin.emotions)) {
      sums[name] = (sums[name] ?? 0) + count;
      most = Math.max(most, count);
    }
  }
  const wide = BINS;
  const rows = ALL.filter((name) => sums[name]).map((name) => {
    const d = bins.list().filter((bin) => bin.emotions[name]).map((bin) => {
      const x = (bin.start_ms - bins.since) / bins.binMs;
      const high = Math.max(2, (bin.emotions[name] / most) * 22);
      return `M${x.toFixed(2)} 24v${-high.toFixed(1)}h1v${high.toFixed(1)}z`;
    });
    return el("div", { class: `strip emo-${name}` }, face(name), el("span", { class: "strip-name" }, tr(name)),
      svg("svg", { viewBox: `0 0 ${wide} 24`, preserveAspectRatio: "none", class: "strip-bars", role: "img", "aria-label": `${tr(name)}: ${many(sums[name], "utterance", "utterances")}` },
        svg("path", { d: d.join("") })),
      el("span", { class: "figure" }, String(sums[name])));
  });
  byId("history-rows").replaceChildren(...(rows.length ? rows : [el("p", { class: "empty" }, tr("Nobody spoke in this time."))]));
  byId("history-rows").dataset.most = frequent(sums)[0]?.[0] ?? "";
}

function drawTable() {
  byId("history-table").replaceChildren(...events.slice(0, shown).map((event) => el("tr", {},
    el("td", {}, el("time", { datetime: event.started_at }, moment(Date.parse(event.started_at)))),
    el("td", {}, titled(event.node)),
    el("td", {}, el("span", { class: "with-face" }, face(event.emotion), tr(event.emotion))),
    ...[percent(event.confidence), signed(event.valence), signed(event.arousal), decibels(event.level_dbfs)]
      .map((text) => el("td", { class: "num" }, text)),
    el("td", {}, corrector(event)))));
  byId("history-more").hidden = events.length <= shown;
}

byId("history-more").addEventListener("click", () => {
  shown += PAGE;
  drawTable();
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
