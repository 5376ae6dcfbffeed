// What stands in the middle of the page: the chart and all around it, a panel, or the wait for either.

import { byId, h, show } from "./dom.js";

const TOAST_MILLISECONDS = 5_000;

/** Wait; what is there already stays, dimmed. */
export function showLoading(isThere) {
  hear("Loading");
  show(byId("panel"), false);
  byId("result").setAttribute("aria-busy", "true");
  show(byId("result"), isThere);
  show(byId("loading"), !isThere);
}

/** The end of a wait, whatever came of it. */
export function showSettled() {
  byId("result").removeAttribute("aria-busy");
  show(byId("loading"), false);
}

export function showResult() {
  show(byId("panel"), false);
  show(byId("loading"), false);
  show(byId("result"), true);
}

/**
 * @param kind `start`, `unknown`, `voided`, `error` or `key`, which asks for a key.
 * @param text What it says; a list where a part of it is an element.
 */
export function showPanel(kind, title, text, actions = []) {
  show(byId("result"), false);
  show(byId("loading"), false);
  byId("panel").dataset.kind = kind;
  byId("panel-title").textContent = title;
  byId("panel-text").replaceChildren(...[text].flat());
  byId("panel-actions").replaceChildren(...actions);
  show(byId("key-form"), kind === "key");
  show(byId("panel"), true);
  hear(`${title}. ${byId("panel-text").textContent}`);
}

/** What became of the reader's choice, for who does not see the page change. */
export function hear(text) {
  byId("heard").textContent = text;
}

/** A word that goes away by itself. */
export function toast(text) {
  byId("toast").textContent = text;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (byId("toast").textContent = ""), TOAST_MILLISECONDS);
}

export function button(text, onclick, className = null) {
  return h("button", { type: "button", class: className, onclick }, text);
}

/** What an answer says of an error, as a sentence. */
export function sentence(text) {
  const whole = text ? text[0].toUpperCase() + text.slice(1) : "It did not say why";
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
