// Translations, and numbers and times as people write them.

export const EMOTIONS = [
  "neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised",
];
export const ALL = [...EMOTIONS, "uncertain"];

// English to the browser's language, where serd has it; what is missing stays English.
const words = await fetch("api/words", { credentials: "same-origin" })
  .then((answer) => (answer.ok ? answer.json() : {})).catch(() => ({}));
const table = new Map(Object.entries(words));

const fill = (text, values) =>
  text.replace(/\{(\w+)\}/g, (whole, key) => (Object.hasOwn(values, key) ? values[key] : whole));

/** Translate a text; {NAME} in it stands for a value. */
export const tr = (text, values = {}) => fill(table.get(text) || (text ?? ""), values);

// The server's messages, which arrive with their values filled in.
const MESSAGES = [
  "connecting",
  "connection refused: is a broker running at {address}?",
  "the name {host} is not known: {reason}",
  "{address} does not answer",
  "no such node is known",
  "too many browsers are connected",
  "since must be before until, and at most 366 days",
  "the broker does not acknowledge the command",
  "the broker has not confirmed within {seconds} s",
  "{node} has not confirmed within {seconds} s",
  "{node} is offline and would not hear the command",
  "{node} is offline and would not hear the correction",
  "{node} is online and would come back; stop it first",
];
const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const patterns = MESSAGES.map((message) => {
  const names = [...message.matchAll(/\{(\w+)\}/g)].map((found) => found[1]);
  const expression = new RegExp(`^${message.split(/\{\w+\}/).map(literal).join("(.+)")}$`);
  return { message, names, expression };
});

/** Translate a message of the server's, in which values already stand. */
export function trMessage(text) {
  for (const { message, names, expression } of patterns) {
    const found = expression.exec(text);
    if (found) return tr(message, Object.fromEntries(names.map((name, at) => [name, found[at + 1]])));
  }
  return text;
}

/** The state of a microphone, in words. */
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
export const many = (count, one, more) => `${count.toLocaleString()} ${tr(count === 1 ? one : more)}`;
export const known = (emotion) => (ALL.includes(emotion) ? emotion : "uncertain");

export function ago(ms, now = Date.now()) {
  const past = Math.max(0, (now - ms) / 1000);
  if (past < 5) return tr("just now");
  if (past < 60) return tr("{n} s ago", { n: Math.floor(past) });
  if (past < 3600) return tr("{n} min ago", { n: Math.floor(past / 60) });
  if (past < 86400) return tr("{n} h ago", { n: Math.floor(past / 3600) });
  return day(ms);
}

export function duration(s) {
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} ${tr("d")} ${Math.floor((s % 86400) / 3600)} h`;
}

/** Valence and arousal in words. */
export function feeling(valence, arousal) {
  const pleasant = valence > 0.15 ? "pleasant" : valence < -0.15 ? "unpleasant" : "";
  const awake = arousal > 0.15 ? "aroused" : arousal < -0.15 ? "sleepy" : "";
  if (pleasant && awake) return tr("{one} and {other}", { one: tr(pleasant), other: tr(awake) });
  return tr(pleasant || awake || "even");
}

/** Valence and arousal as numbers. */
export const coordinates = ({ valence, arousal }) =>
  tr("valence {valence}, arousal {arousal}", { valence: signed(valence), arousal: signed(arousal) });
