// What the middle of the page shows: the result, a loading state, or a panel with a message.

import { button, byId, h, show } from "./dom.js";
import * as format from "./format.js";

const TOAST_MILLISECONDS = 5_000;

/** Show that the page is loading. A result that is already there stays visible, dimmed. */
export function showLoading(hasResult) {
  announce("Loading");
  show(byId("overview"), false);
  show(byId("panel"), false);
  byId("result").setAttribute("aria-busy", "true");
  show(byId("result"), hasResult);
  show(byId("loading"), !hasResult);
}

export function hideLoading() {
  byId("result").removeAttribute("aria-busy");
  show(byId("loading"), false);
}

export function showResult() {
  show(byId("overview"), false);
  show(byId("panel"), false);
  show(byId("loading"), false);
  show(byId("result"), true);
}

/**
 * Show a panel instead of the result.
 *
 * @param type `start`, `unknown`, `voided`, `error`, or `key` for one with the form for an API key.
 * @param text A string, or a list of strings and elements.
 */
export function showPanel(type, title, text, actions = []) {
  show(byId("overview"), false);
  show(byId("result"), false);
  show(byId("loading"), false);
  byId("panel").dataset.type = type;
  byId("panel-title").textContent = title;
  byId("panel-text").replaceChildren(...[text].flat());
  byId("panel-actions").replaceChildren(...actions);
  show(byId("key-form"), type === "key");
  show(byId("panel"), true);
  announce(`${title}. ${byId("panel-text").textContent}`);
}

/** Offer customers to choose from, or a file if there are none yet. */
export function showCustomers(customers, choose) {
  if (!customers.length) {
    const chooseFile = button("Choose a CSV file", () => byId("file").click(), "primary");
    showPanel("start", "No events yet", "Drop a CSV file anywhere on this page, or choose one. Every row gets a receipt.", [chooseFile]);
    return;
  }
  const chip = ({ customer_id: id, total }) =>
    h(
      "button",
      { type: "button", class: "chip", onclick: () => choose(id) },
      h("span", { class: "name" }, id),
      h("span", { class: "total" }, format.count(total)),
    );
  showPanel("start", "Choose a customer", "Type a customer ID above, or choose one of these.", customers.map(chip));
}

/** @param voided The newest event of the customer if all are voided; null if there are no events. */
export function showNoEvents(customer, voided, showOthers) {
  // Isolated, because the direction of an ID must not turn the text after it around.
  const id = h("bdi", {}, customer);
  const actions = [button("Show other customers", showOthers)];
  if (!voided) {
    const text = ["No events are stored for “", id, "”. Customer IDs must match exactly, including upper and lower case."];
    showPanel("unknown", "No events for this customer", text, actions);
    return;
  }
  const time = format.exact(Date.parse(voided.voided_at));
  const text = ["“", id, `” has events, but none of them count. The newest one was voided on ${time}: “`, h("bdi", {}, voided.void_reason), "”."];
  showPanel("voided", "All events of this customer are voided", text, actions);
}

/** Tell screen readers what the page now shows. */
export function announce(text) {
  byId("announcement").textContent = text;
}

/** A short message that disappears by itself. */
export function toast(text) {
  byId("toast").textContent = text;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (byId("toast").textContent = ""), TOAST_MILLISECONDS);
}
