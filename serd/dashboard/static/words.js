// Translations, and numbers and times as people write them.

import { serverNow, titled } from "./store.js";

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
export const tr = (text, values = {}) => fill(String(table.get(text) || (text ?? "")), values);

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

/** Translate a message of the server's, in which values already stand; rooms get their titles. */
export function trMessage(text) {
  for (const { message, names, expression } of patterns) {
    const found = expression.exec(text);
    if (!found) continue;
    const values = names.map((name, at) => [name, name === "node" ? titled(found[at + 1]) : found[at + 1]]);
    return tr(message, Object.fromEntries(values));
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

/** Of numbers and dates: the browser's own variant of the page's language, such as de-AT. */
const language = document.documentElement.lang;
export const locale = navigator.languages.find((one) => one.startsWith(language)) ?? language;

/** Why the switch cannot open a microphone. */
export const REASONS = {
  quiet: "It opens when the quiet hours end.",
  missing: "It opens when the microphone is back.",
};

const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(locale, {
  hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const date = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
const digits = (least, most = least, more = {}) =>
  new Intl.NumberFormat(locale, { minimumFractionDigits: least, maximumFractionDigits: most, ...more });
const whole = digits(0);
const hundredths = digits(2);
const shares = digits(0, 0, { style: "percent" });
const tenths = digits(0, 1);
const fineShares = digits(0, 1, { style: "percent" });

export const time = (ms) => clock.format(ms);
export const seconds = (ms) => exact.format(ms);
export const day = (ms) => date.format(ms);
export const moment = (ms) => `${date.format(ms)}, ${exact.format(ms)}`;
export const count = (number) => whole.format(number);
export const percent = (share) => shares.format(share);
export const finePercent = (share) => fineShares.format(share);
export const signed = (value) => `${value < 0 ? "\u2212" : "+"}${hundredths.format(Math.abs(value))}`;
/** A number with its unit, on one line. */
export const unit = (value, name, format = whole) =>
  `${value < 0 ? "\u2212" : ""}${format.format(Math.abs(value))}\u00a0${name}`;
export const decibels = (value) => unit(value, "dB");
export const fullScale = (value) => unit(value, "dBFS", tenths);
export const many = (number, one, more) => `${count(number)} ${tr(number === 1 ? one : more)}`;
export const known = (emotion) => (ALL.includes(emotion) ? emotion : "uncertain");

export function ago(ms, now = serverNow()) {
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
