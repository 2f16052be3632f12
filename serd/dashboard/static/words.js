// Numbers and moments as people write them.

export const EMOTIONS = [
  "neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised",
];
export const ALL = [...EMOTIONS, "uncertain"];

// Emotions and states in the browser's language, where serd has it; English otherwise.
const words = await fetch("api/words", { credentials: "same-origin" })
  .then((answer) => (answer.ok ? answer.json() : {})).catch(() => ({}));
const table = new Map(Object.entries(words));

/** An emotion or a state as people read it. */
export const said = (word) => table.get(word) ?? word;

/** How a microphone is, in words. */
export const MICROPHONE = {
  open: "Microphone open",
  muted: "Microphone closed: muted",
  quiet: "Microphone closed: quiet hours",
  missing: "Microphone missing",
  offline: "Offline",
  unknown: "Microphone: not known",
};

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const time = (ms) => clock.format(ms);
export const seconds = (ms) => exact.format(ms);
export const day = (ms) => date.format(ms);
export const moment = (ms) => `${date.format(ms)}, ${exact.format(ms)}`;
export const percent = (share) => `${Math.round(share * 100)} %`;
export const signed = (value) => `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(2)}`;
export const decibels = (value) => `${value < 0 ? "\u2212" : ""}${Math.abs(value).toFixed(0)} dB`;
export const many = (count, one, more) => `${count.toLocaleString()} ${count === 1 ? one : more}`;
export const known = (emotion) => (ALL.includes(emotion) ? emotion : "uncertain");

export function ago(ms, now = Date.now()) {
  const past = Math.max(0, (now - ms) / 1000);
  if (past < 5) return "just now";
  if (past < 60) return `${Math.floor(past)} s ago`;
  if (past < 3600) return `${Math.floor(past / 60)} min ago`;
  if (past < 86400) return `${Math.floor(past / 3600)} h ago`;
  return day(ms);
}

export function duration(s) {
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Valence and arousal in words. */
export function feeling(valence, arousal) {
  const pleasant = valence > 0.15 ? "pleasant" : valence < -0.15 ? "unpleasant" : "";
  const awake = arousal > 0.15 ? "aroused" : arousal < -0.15 ? "sleepy" : "";
  if (pleasant && awake) return `${pleasant} and ${awake}`;
  return pleasant || awake || "even";
}
