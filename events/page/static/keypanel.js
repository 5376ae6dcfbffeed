// The panel that asks for an API key, and the button that forgets it.

import { key } from "./api.js";
import { byId, show } from "./dom.js";
import { sentence } from "./format.js";
import { showPanel } from "./panels.js";

/** @param onChange Called after the key was entered or forgotten. */
export function makeKeyPanel({ onChange }) {
  let waiting = [];

  /**
   * Ask for a key.
   *
   * @param error The `ApiError` that made it necessary: 401 or 403.
   */
  function ask({ status, detail }, customer) {
    if (status === 403 && !customer) {
      showPanel("key", "Choose a customer", "This key may only read its own customer: type the customer ID above, or use another key.");
    } else if (status === 403) {
      showPanel("key", "Permission denied", `${sentence(detail)} Use a key that has the permission.`);
    } else if (key.get()) {
      showPanel("key", "Invalid API key", "The key may be mistyped, expired or revoked. Enter another one.");
    } else showPanel("key", "API key required", "Enter a key that has permission to read.");
  }

  /** Ask for a key in the middle of an upload; resolves when the reader has entered one. */
  function waitForKey(error, customer) {
    ask(error, customer);
    byId("key").focus();
    return new Promise((resolve) => waiting.push(resolve));
  }

  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("key").value.trim();
    if (!text) return;
    key.set(text);
    byId("key").value = "";
    waiting.splice(0).forEach((resolve) => resolve());
    onChange();
  });
  byId("forget-key").addEventListener("click", () => {
    key.forget();
    onChange();
  });
  return { ask, waitForKey, draw: () => show(byId("forget-key"), key.get() !== "") };
}
