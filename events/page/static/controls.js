// The controls that choose what to show. Each one changes the state; `draw` shows the state in them.

import { makeCustomerField } from "./customerfield.js";
import { byId, show } from "./dom.js";
import { iso } from "./ranges.js";
import { makeZoneField } from "./zonefield.js";

/**
 * @param go Called with a change of the state.
 * @param getRange Returns the range that is shown; undefined if there is none.
 */
export function makeControls({ go, getRange }) {
  const customerField = makeCustomerField({ choose: (customer) => go({ customer, types: [] }) });
  const zoneField = makeZoneField({ choose: (timezone) => go({ timezone }) });

  function draw(state) {
    customerField.draw(state.customer);
    zoneField.draw(state.timezone);
    for (const name of ["range", "view"]) {
      for (const input of document.getElementsByName(name)) input.checked = input.value === state[name];
    }
    byId("bars").value = state.bars;
    byId("compare").checked = state.compare;
    byId("start-label").textContent = `Start (${state.timezone})`;
    byId("end-label").textContent = `End, exclusive (${state.timezone})`;
    show(byId("dates"), state.range === "own");
    for (const name of ["start", "end"]) byId(name).value = state[name];
  }

  byId("ranges").addEventListener("change", ({ target: { value } }) => {
    if (value !== "own") {
      go({ range: value, start: "", end: "" });
      return;
    }
    // Start from the range that is shown.
    const { local } = getRange() ?? {};
    const fieldValue = (at) => iso(at).slice(0, 16);
    go({ range: "own", ...(local && { start: fieldValue(local.start), end: fieldValue(local.end) }) });
  });
  byId("dates").addEventListener("submit", (event) => {
    event.preventDefault();
    go({ start: byId("start").value, end: byId("end").value });
  });
  for (const input of document.getElementsByName("view")) input.addEventListener("change", () => go({ view: input.value }));
  byId("bars").addEventListener("change", ({ target }) => go({ bars: target.value }));
  byId("compare").addEventListener("change", ({ target }) => go({ compare: target.checked }));
  byId("to-newest").addEventListener("click", () => go({ range: "30d", start: "", end: "" }));

  return { draw, closeSuggestions: customerField.close };
}
