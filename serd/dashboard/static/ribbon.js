// The mood band: a ribbon through time. Its height and colour are valence (up is pleasant), its
// thickness arousal. It is interrupted where nobody spoke. A slider below moves a mark along it, by
// finger, mouse or arrow keys, and shows the values there; a table shows them all.

import { frequent } from "./bins.js";
import { el, setText, svg } from "./dom.js";
import { coordinates, count, day, feeling, many, signed, time, tr } from "./words.js";

const HEIGHT = 220;
const TOP = 14;
const BAND = 156; // height of the ribbon's area
const COUNTS = 26; // height of the bars below it
const MARGIN = { left: 8, right: 8 };
const GAP = 8; // empty bins that interrupt the ribbon
const REACH = 0.75; // the valence at the edge: no emotion lies farther out, except one by 0.05
const THIN = 5;
const THICK = 44;
const TAPER = 60; // part of the width
const NARROW = 3; // pixels
const DAY_MINUTES = 1440;
const DAY_MS = DAY_MINUTES * 60_000;
const BLUR = 2.2; // bins: standard deviation of the smoothing
let number = 0;

const lerp = (a, b, share) => a + (b - a) * share;

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => {
    const hex = style.getPropertyValue(name).trim();
    return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  };
  const [low, zero, high] = ["--unpleasant", "--even", "--pleasant"].map(read);
  return (valence) => {
    const share = Math.min(1, Math.abs(valence) / 0.45);
    const end = valence < 0 ? low : high;
    return `rgb(${zero.map((part, i) => Math.round(lerp(part, end[i], share))).join(" ")})`;
  };
}

/** Runs of bins without a long silence in between, each smoothed over its neighbours. */
function runs(bins, binMs, gapMs) {
  const found = [];
  let run = [];
  for (const bin of bins) {
    if (run.length && bin.start_ms - run.at(-1).start_ms > gapMs) {
      found.push(run);
      run = [];
    }
    run.push(bin);
  }
  if (run.length) found.push(run);
  return found.map((one) => one.map((bin, at) => {
    let weight = 0;
    let valence = 0;
    let arousal = 0;
    for (let i = Math.max(0, at - 8); i < Math.min(one.length, at + 9); i += 1) {
      const away = (one[i].start_ms - bin.start_ms) / binMs / BLUR;
      const w = one[i].count * Math.exp((-away * away) / 2);
      weight += w;
      valence += w * one[i].valence;
      arousal += w * one[i].arousal;
    }
    return { at: bin.start_ms + binMs / 2, valence: valence / weight, arousal: arousal / weight };
  }));
}

/** A smooth curve through points (Catmull-Rom as Bezier), as part of a path. */
function curve(points) {
  let path = "";
  for (let i = 0; i + 1 < points.length; i += 1) {
    const [before, from, to, after] = [points[Math.max(0, i - 1)], points[i], points[i + 1],
      points[Math.min(points.length - 1, i + 2)]];
    const c1 = [from[0] + (to[0] - before[0]) / 6, from[1] + (to[1] - before[1]) / 6];
    const c2 = [to[0] - (after[0] - from[0]) / 6, to[1] - (after[1] - from[1]) / 6];
    path += `C${[...c1, ...c2, ...to].map((n) => n.toFixed(1)).join(" ")}`;
  }
  return path;
}

function outline(points) {
  const upper = points.map(({ x, y, half }) => [x, y - half]);
  const lower = points.map(({ x, y, half }) => [x, y + half]).reverse();
  const start = upper[0].map((n) => n.toFixed(1)).join(" ");
  const turn = lower[0].map((n) => n.toFixed(1)).join(" ");
  return `M${start}${curve(upper)}L${turn}${curve(lower)}Z`;
}

/** Tick marks: at most this many, at round hours or days of the viewer's clock. */
export function ticks(since, until, most) {
  const steps = [5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1, 2, 4, 7, 28]
    .map((length, at) => (at < 10 ? length : length * DAY_MINUTES));
  const step = steps.find((one) => (until - since) / (one * 60_000) <= most) ?? steps.at(-1);
  const first = new Date(since);
  const [year, month, date] = [first.getFullYear(), first.getMonth(), first.getDate()];
  // Steps of several days keep their places when the period moves on.
  const early = Math.floor(Date.UTC(year, month, date) / DAY_MS) % Math.max(1, step / DAY_MINUTES);
  const marks = [];
  // In local time: a day may have 23 or 25 hours.
  for (let n = 0, last = since - 1; ; n += 1) {
    const mark = new Date(year, month, date - early, 0, n * step);
    const at = mark.getTime();
    if (at >= until) return marks;
    if (at <= last) continue; // before the period, or in the hour that is left out in spring
    last = at;
    const midnight = mark.getHours() === 0 && mark.getMinutes() === 0;
    marks.push({ at, text: midnight ? day(at) : time(at) });
  }
}

export class Ribbon {
  /** @param parent its parent element; @param name of what it shows, for its labels. */
  constructor(parent, name) {
    number += 1;
    this.id = `ribbon-${number}`;
    this.name = name;
    this.bins = null;
    this.title = svg("title", { id: `${this.id}-title` });
    this.desc = svg("desc", { id: `${this.id}-desc` });
    this.body = svg("g");
    this.mark = svg("line", { class: "mark", y1: TOP, y2: TOP + BAND });
    this.svg = svg("svg", {
      class: "ribbon", role: "img", height: HEIGHT,
      "aria-labelledby": `${this.id}-title ${this.id}-desc`,
    }, this.title, this.desc, this.body, this.mark);
    this.slider = el("input", { type: "range", class: "scrub", min: 0, value: 0, "aria-label": tr("Moment in {name}", { name }) });
    this.readout = el("p", { class: "readout" });
    this.table = el("tbody");
    this.details = el("details", { class: "as-table" }, el("summary", {}, tr("As a table")),
      el("table", {}, el("thead", {}, el("tr", {}, ...[tr("From"), tr("Utterances"), tr("Mostly"), tr("Valence"), tr("Arousal")]
        .map((head) => el("th", { scope: "col" }, head)))), this.table));
    parent.replaceChildren(el("figure", { class: "ribbon-figure" }, this.svg, this.slider, this.readout,
      el("figcaption", { class: "soft" }, tr("Higher is pleasant, lower unpleasant; the thicker, the more aroused. Bars: how much was said.")),
      this.details));
    this.slider.addEventListener("input", () => this.point(Number(this.slider.value)));
    this.svg.addEventListener("pointermove", (event) => {
      if (!this.bins || !this.width) return;
      const box = this.svg.getBoundingClientRect();
      this.point(this.place(this.time(event.clientX - box.left)));
    });
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.slider.addEventListener("blur", () => this.point(null));
    this.details.addEventListener("toggle", () => this.tabulate());
    document.addEventListener("serd-theme", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(parent);
  }

  x(ms) {
    const { since, until } = this.bins;
    return lerp(MARGIN.left, this.width - MARGIN.right, (ms - since) / (until - since));
  }

  time(x) {
    const { since, until } = this.bins;
    return lerp(since, until, (x - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right));
  }

  place(ms) {
    const { since, until, binMs } = this.bins;
    const last = Math.ceil((until - since) / binMs) - 1;
    return Math.max(0, Math.min(last, Math.floor((ms - since) / binMs)));
  }

  show(bins) {
    this.bins = bins;
    this.draw();
  }

  draw() {
    const width = this.svg.parentElement?.clientWidth ?? 0;
    if (!this.bins || !width) return;
    this.width = width;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.setAttribute("width", width);
    const list = this.bins.list();
    const { since, until } = this.bins;
    // On a narrow screen single bins would be too thin to draw.
    const coarse = this.bins.coarser(Math.ceil((NARROW * (until - since)) / this.bins.binMs / width));
    const drawn = coarse.list();
    this.slider.max = this.place(until - 1);
    this.slider.value = this.slider.max;
    this.body.replaceChildren(...this.grid(since, until), ...this.ribbons(drawn, coarse.binMs), ...this.counts(drawn, coarse.binMs));
    this.describe(list);
    this.point(null);
    if (this.details.open) this.tabulate();
  }

  grid(since, until) {
    const middle = TOP + BAND / 2;
    const parts = [
      svg("line", { class: "axis", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: middle, y2: middle }),
      svg("text", { class: "side", x: MARGIN.left, y: TOP + 4 }, tr("pleasant")),
      svg("text", { class: "side", x: MARGIN.left, y: TOP + BAND + 2 }, tr("unpleasant")),
    ];
    for (const { at, text } of ticks(since, until, Math.max(3, Math.min(9, this.width / 90)))) {
      const x = this.x(at);
      parts.push(svg("line", { class: "tick", x1: x, x2: x, y1: TOP + 12, y2: TOP + BAND - 12 }));
      const anchor = x < 24 ? "start" : x > this.width - 24 ? "end" : "middle";
      parts.push(svg("text", { class: "when", x: Math.max(2, Math.min(this.width - 2, x)), y: HEIGHT - 2, "text-anchor": anchor }, text));
    }
    return parts;
  }

  ribbons(list, binMs) {
    const colour = colours();
    const middle = TOP + BAND / 2;
    const least = Math.max(2.5, (this.x(binMs) - this.x(0)) / 2);
    return runs(list, binMs, Math.max(GAP * this.bins.binMs, 2.5 * binMs)).flatMap((run, at) => {
      const points = run.map(({ at: ms, valence, arousal }) => ({
        x: this.x(ms), y: middle - (Math.max(-REACH, Math.min(REACH, valence)) / REACH) * ((BAND - THICK) / 2),
        half: lerp(THIN, THICK, (arousal + 1) / 2) / 2, valence,
      }));
      const [first, last] = [points[0], points.at(-1)];
      // It tapers towards its ends, within the time in which someone spoke.
      points.unshift({ ...first, x: first.x - least });
      points.push({ ...last, x: last.x + least });
      const [begin, end] = [points[0].x, points.at(-1).x];
      for (const point of points) {
        const inside = Math.min(1, Math.min(point.x - begin, end - point.x) / (this.width / TAPER));
        point.half *= 0.12 + 0.88 * Math.sin((inside * Math.PI) / 2);
      }
      const id = `${this.id}-${at}`;
      const length = points.at(-1).x - points[0].x;
      const every = Math.ceil(points.length / 60);
      const stops = points.filter((_, i) => i % every === 0).map((point) => svg("stop", {
        offset: ((point.x - points[0].x) / length).toFixed(4), "stop-color": colour(point.valence),
      }));
      return [
        svg("linearGradient", { id, gradientUnits: "userSpaceOnUse", x1: points[0].x, x2: points.at(-1).x }, ...stops),
        svg("path", { class: "band", d: outline(points), fill: `url(#${id})` }),
        svg("path", { class: "spine", d: `M${first.x.toFixed(1)} ${first.y.toFixed(1)}${curve(points.slice(1, -1).map(({ x, y }) => [x, y]))}` }),
      ];
    });
  }

  counts(list, binMs) {
    const most = Math.max(3, ...list.map((bin) => bin.count));
    const foot = TOP + BAND + 8 + COUNTS;
    const wide = Math.max(1, this.x(binMs) - this.x(0) - 1);
    const d = list.map(({ start_ms: start, count }) => {
      const high = Math.max(1.5, (count / most) * COUNTS);
      return `M${this.x(start).toFixed(1)} ${foot}v${-high.toFixed(1)}h${wide.toFixed(1)}v${high.toFixed(1)}z`;
    });
    return [svg("path", { class: "counts", d: d.join("") })];
  }

  /** A time, with the day where the period is longer than one. */
  when(ms) {
    const { since, until } = this.bins;
    return `${until - since > DAY_MS ? `${day(ms)}, ` : ""}${time(ms)}`;
  }

  describe(list) {
    const { since, until, total } = this.bins;
    setText(this.title, tr("{name}, {since} to {until}", { name: this.name, since: this.when(since), until: this.when(until) }));
    if (!total) {
      setText(this.desc, tr("Nobody spoke."));
      return;
    }
    const sums = { valence: 0, arousal: 0, emotions: {} };
    for (const bin of list) {
      sums.valence += bin.valence * bin.count;
      sums.arousal += bin.arousal * bin.count;
      for (const [name, count] of Object.entries(bin.emotions)) {
        sums.emotions[name] = (sums.emotions[name] ?? 0) + count;
      }
    }
    const [most] = frequent(sums.emotions);
    setText(this.desc, tr("{utterances}, on the whole {feeling}, most often {emotion}.", {
      utterances: many(total, "utterance", "utterances"),
      feeling: feeling(sums.valence / total, sums.arousal / total),
      emotion: tr(most[0]),
    }));
  }

  /** Mark an interval and show its values; null removes the mark. */
  point(place) {
    this.mark.classList.toggle("on", place !== null && this.bins !== null);
    if (place === null || !this.bins) {
      setText(this.readout, this.bins?.total ? this.desc.textContent : tr("Nobody spoke in this time."));
      this.slider.setAttribute("aria-valuetext", tr("now"));
      return;
    }
    const { since, binMs, byStart } = this.bins;
    const start = since + place * binMs;
    const x = this.x(start + binMs / 2);
    this.mark.setAttribute("x1", x);
    this.mark.setAttribute("x2", x);
    this.slider.value = place;
    const bin = byStart.get(start);
    const when = this.when(start);
    const text = bin
      ? `${when}: ${many(bin.count, "utterance", "utterances")}, ${feeling(bin.valence, bin.arousal)}; `
        + frequent(bin.emotions).slice(0, 3).map(([name, number]) => `${tr(name)} ${count(number)}`).join(", ")
        + `; ${coordinates(bin)}`
      : `${when}: ${tr("nobody spoke")}`;
    setText(this.readout, text);
    this.slider.setAttribute("aria-valuetext", text);
  }

  /** Fill the table: at most 24 rows, each a 24th of the time. */
  tabulate() {
    if (!this.details.open || !this.bins) return;
    const { since, until } = this.bins;
    const step = (until - since) / 24;
    const rows = [];
    for (let i = 0; i < 24; i += 1) {
      const from = since + i * step;
      const sum = { count: 0, valence: 0, arousal: 0, emotions: {} };
      for (const bin of this.bins.byStart.values()) {
        if (bin.start_ms < from || bin.start_ms >= from + step) continue;
        sum.count += bin.count;
        sum.valence += bin.valence * bin.count;
        sum.arousal += bin.arousal * bin.count;
        for (const [name, count] of Object.entries(bin.emotions)) {
          sum.emotions[name] = (sum.emotions[name] ?? 0) + count;
        }
      }
      if (!sum.count) continue;
      rows.push(el("tr", {}, el("th", { scope: "row" }, `${day(from)}, ${time(from)}`), ...[
        count(sum.count), tr(frequent(sum.emotions)[0][0]), signed(sum.valence / sum.count), signed(sum.arousal / sum.count),
      ].map((text) => el("td", {}, text))));
    }
    if (!rows.length) rows.push(el("tr", {}, el("td", { colspan: 5 }, tr("Nobody spoke."))));
    this.table.replaceChildren(...rows);
  }
}
