// The plane of valence (pleasant to the right) and arousal (up). The latest utterance is a dot,
// earlier ones fade; the room's mood is a ring.

import { setText, svg } from "./dom.js";
import { coordinates, feeling, known, tr } from "./words.js";

const SIZE = 260;
const MIDDLE = SIZE / 2;
const RADIUS = 108;
const TRAIL = 12;

const at = (valence, arousal) => [MIDDLE + valence * RADIUS, MIDDLE - arousal * RADIUS];

export class Plane {
  constructor(parent, words) {
    this.words = words;
    this.title = svg("title", { id: "plane-svg-title" }, tr("Valence and arousal of the latest utterances"));
    this.desc = svg("desc", { id: "plane-svg-desc" });
    this.places = svg("g", { class: "places" });
    this.trail = svg("g");
    this.ring = svg("circle", { class: "mood-ring", r: 13 });
    const text = (x, y, anchor, label) => svg("text", { x, y, "text-anchor": anchor, class: "end" }, label);
    parent.replaceChildren(svg("svg", {
      viewBox: `0 0 ${SIZE} ${SIZE}`, class: "plane", role: "img",
      "aria-labelledby": "plane-svg-title plane-svg-desc",
    }, this.title, this.desc,
    svg("circle", { class: "rim", cx: MIDDLE, cy: MIDDLE, r: RADIUS }),
    svg("circle", { class: "inner", cx: MIDDLE, cy: MIDDLE, r: RADIUS / 2 }),
    svg("path", { class: "cross", d: `M${MIDDLE - RADIUS} ${MIDDLE}h${2 * RADIUS}M${MIDDLE} ${MIDDLE - RADIUS}v${2 * RADIUS}` }),
    text(MIDDLE, 14, "middle", tr("aroused")), text(MIDDLE, SIZE - 6, "middle", tr("sleepy")),
    svg("text", { x: 0, y: 0, "text-anchor": "middle", class: "end", transform: `translate(12 ${MIDDLE}) rotate(-90)` }, tr("unpleasant")),
    svg("text", { x: 0, y: 0, "text-anchor": "middle", class: "end", transform: `translate(${SIZE - 6} ${MIDDLE}) rotate(-90)` }, tr("pleasant")),
    this.places, this.ring, this.trail));
  }

  /** Label the emotions at their positions. */
  name(classes) {
    this.places.replaceChildren(...classes.filter(({ name }) => name !== "neutral").map(({ name, valence, arousal }) => {
      const [x, y] = at(valence * 0.92, arousal * 0.92);
      return svg("text", { x, y: y + 4, "text-anchor": "middle" }, tr(name));
    }));
  }

  /** Show a room and its latest events, the oldest first. */
  show(room, events) {
    const latest = events.slice(-TRAIL);
    this.trail.replaceChildren(...latest.map((event, i) => {
      const [x, y] = at(event.valence, event.arousal);
      const last = i === latest.length - 1;
      return svg("circle", {
        cx: x.toFixed(1), cy: y.toFixed(1), r: last ? 8 : 4, class: `point emo-${known(event.emotion)}${last ? " last" : ""}`,
        opacity: last ? 1 : (0.12 + (0.5 * (i + 1)) / latest.length).toFixed(2),
      });
    }));
    const mood = room?.mood_valence ?? null;
    this.ring.classList.toggle("off", mood === null);
    if (mood !== null) {
      const [x, y] = at(mood, room.mood_arousal);
      this.ring.setAttribute("cx", x.toFixed(1));
      this.ring.setAttribute("cy", y.toFixed(1));
    }
    const event = latest.at(-1);
    const words = event
      ? `${feeling(event.valence, event.arousal)}\n${coordinates(event)}`
      : tr("nothing heard yet");
    setText(this.desc, words + (mood === null ? "" : tr(". The ring is the room's mood: {mood}.", { mood: feeling(mood, room.mood_arousal) })));
    setText(this.words, words);
  }
}
