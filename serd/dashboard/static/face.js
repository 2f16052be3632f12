// A small face for each emotion, so that nothing depends on colour alone: the mouth shows valence,
// the eyes arousal, and brows distinguish what those two do not.

import { svg } from "./dom.js";
import { known } from "./words.js";

const SHAPES = {
  neutral: { mouth: 0, eyes: 2.4 },
  calm: { mouth: 4.5, eyes: 0 },
  happy: { mouth: 9, eyes: 3 },
  sad: { mouth: -6, eyes: 1.9, brows: -2 },
  angry: { mouth: -5, eyes: 2.6, brows: 4 },
  fearful: { open: [4.5, 2.6], eyes: 3.6, brows: -4 },
  disgust: { wave: true, eyes: 1.8, brows: 2.5 },
  surprised: { open: [3.2, 4.4], eyes: 3.8 },
  uncertain: { mouth: 0, eyes: 2, slant: 2.5 },
};

function mouth(shape) {
  if (shape.open) {
    const [rx, ry] = shape.open;
    return svg("ellipse", { cx: 24, cy: 32, rx, ry, class: "line" });
  }
  if (shape.wave) return svg("path", { d: "M16 32q4-5 8 0t8 0", class: "line" });
  const tilt = shape.slant ?? 0;
  const bend = 31 + shape.mouth;
  const y = 31 - shape.mouth / 4;
  return svg("path", { d: `M16 ${y + tilt}Q24 ${bend} 32 ${y - tilt}`, class: "line" });
}

/** A face as an SVG element, hidden from screen readers: the word always stands beside it. */
export function face(emotion) {
  if (emotion === null) {
    return svg("svg", { viewBox: "0 0 48 48", class: "face emo-none", "aria-hidden": "true" },
      svg("circle", { cx: 24, cy: 24, r: 20, class: "skin none" }));
  }
  const name = known(emotion);
  const shape = SHAPES[name];
  const parts = [svg("circle", { cx: 24, cy: 24, r: 20, class: "skin" })];
  for (const side of [-1, 1]) {
    const x = 24 + side * 7;
    parts.push(shape.eyes
      ? svg("ellipse", { cx: x, cy: 20, rx: 2, ry: shape.eyes, class: "eye" })
      : svg("path", { d: `M${x - 3} 20q3 3 6 0`, class: "line" }));
    if (shape.brows) {
      const slope = (side * shape.brows) / 2;
      parts.push(svg("path", { d: `M${x - 4} ${13.5 + slope}L${x + 4} ${13.5 - slope}`, class: "line" }));
    }
  }
  parts.push(mouth(shape));
  return svg("svg", { viewBox: "0 0 48 48", class: `face emo-${name}`, "aria-hidden": "true" }, ...parts);
}
