// Corrections: made by click or by key, shown, and undone.

import { el, setText } from "./dom.js";
import { send } from "./link.js";
import { EMOTIONS, seconds, tr } from "./words.js";

const corrections = new Map(); // event id -> an emotion, or "not"
const undos = new Map(); // event id -> earlier corrections

/** The correction of an utterance: an emotion, "not", or null. */
const correctionOf = (id) => corrections.get(id) ?? null;

/** Whether a correction is being chosen or sent inside an element, or failed and is still in focus. */
export const busy = (element) =>
  element.querySelector(".correct[open], .correct-box[aria-busy], .correct-box:focus-within > .wrong") !== null;

/** Take corrections made elsewhere: {event id: emotion, "not" or null}. */
export function know(made) {
  let changed = false;
  for (const [id, word] of Object.entries(made ?? {})) {
    if (correctionOf(id) === word) continue;
    changed = true;
    if (word === null) corrections.delete(id);
    else corrections.set(id, word);
  }
  if (changed) for (const box of document.querySelectorAll(".correct-box")) box.refresh();
}

/** Take the corrections of an answer's events; the others have none (any more). */
export const knowOf = ({ events, corrections }) =>
  know({ ...Object.fromEntries(events.map(({ id }) => [id, null])), ...corrections });

/**
 * A button that opens the choices for one utterance, and the correction with its undo.
 * While the choices are open, the keys 1 to 8 select an emotion, 0 is "not that", Escape closes.
 *
 * @param label whether it names the utterance while it is in use.
 */
export function corrector(event, { label = false } = {}) {
  const note = el("span", { class: "correct-note", role: "status" });
  const choices = el("div", { class: "correct-choices", role: "group", "aria-label": tr("What it really was") });
  const which = label
    ? el("span", { class: "correct-which" }, ` ${seconds(Date.parse(event.ended_at))}, ${tr(event.emotion)}`)
    : el("span", { class: "unseen" }, ` ${tr(event.emotion)}`);
  const summary = el("summary", {}, tr("Correct"), which);
  const details = el("details", { class: "correct" }, summary, choices);
  const undo = el("button", { type: "button", class: "quiet correct-undo" }, tr("Undo"));
  const box = el("div", { class: "correct-box", "data-event": event.id }, note, undo, details);

  function show() {
    const word = correctionOf(event.id);
    note.classList.remove("wrong");
    setText(note, word === null ? "" : word === "not" ? tr("not that") : `${tr("really")} ${tr(word)}`);
    undo.hidden = word === null;
  }

  async function submit(word) {
    note.classList.remove("wrong");
    setText(note, tr("Sending\u2026"));
    box.setAttribute("aria-busy", "true");
    const content = word === null ? { forget: true } : { emotion: word === "not" ? null : word };
    try {
      const answer = await send(`api/nodes/${encodeURIComponent(event.node)}/correct`, { id: event.id, ...content });
      know({ [event.id]: answer.emotion });
      show();
      return true;
    } catch (error) {
      note.classList.add("wrong");
      setText(note, error.message);
      return false;
    } finally {
      box.removeAttribute("aria-busy");
    }
  }

  async function choose(word) {
    const before = correctionOf(event.id);
    details.open = false;
    summary.focus();
    if (await submit(word)) {
      undos.set(event.id, [...(undos.get(event.id) ?? []), before]);
      undo.focus();
    }
  }

  undo.addEventListener("click", async () => {
    if (await submit(undos.get(event.id)?.pop() ?? null)) summary.focus();
  });
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    if (!choices.childElementCount) {
      EMOTIONS.forEach((emotion, at) => choices.append(el("button", { type: "button", class: `choice emo-${emotion}`, "aria-keyshortcuts": at + 1, onclick: () => choose(emotion) }, tr(emotion))));
      if (event.emotion !== "uncertain") choices.append(el("button", { type: "button", class: "choice", "aria-keyshortcuts": 0, onclick: () => choose("not") }, tr("not that")));
    }
    choices.firstElementChild.focus();
  });
  details.addEventListener("keydown", (key) => {
    if (!details.open) return;
    if (key.key === "Escape") {
      key.stopPropagation(); // otherwise the page would leave the room
      details.open = false;
      summary.focus();
    } else if (/^[0-8]$/.test(key.key) && !key.ctrlKey && !key.altKey && !key.metaKey) {
      const word = key.key === "0" ? "not" : EMOTIONS[Number(key.key) - 1];
      if (word !== "not" || event.emotion !== "uncertain") choose(word);
    }
  });
  show();
  box.refresh = show;
  return box;
}
