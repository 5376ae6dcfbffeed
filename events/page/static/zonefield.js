// The field for the time zone: UTC, the browser's zone, or another zone by name.

import { byId, h, show } from "./dom.js";
import { browserZone, isZone, properName, zoneNames } from "./zones.js";

const OTHER = "other";

/** Suggest time zones in the fields for them. */
export function fillZoneNames() {
  if (!byId("zone-names").children.length) byId("zone-names").append(...zoneNames().map((value) => h("option", { value })));
}

/** @param choose Called with the name of the chosen zone. */
export function makeZoneField({ choose }) {
  const [select, form, name, error] = ["zone", "other-zone", "zone-name", "zone-error"].map(byId);
  let current = "UTC";

  function draw(zone) {
    current = zone;
    const own = browserZone();
    const options = [...new Set(["UTC", own, zone])].map((value) =>
      h("option", { value }, value === own && own !== "UTC" ? `${value} (yours)` : value),
    );
    select.replaceChildren(...options, h("option", { value: OTHER }, "Other…"));
    select.value = zone;
    show(form, false);
  }

  function openForm() {
    fillZoneNames();
    name.value = "";
    show(error, false);
    show(form, true);
    name.focus();
  }

  select.addEventListener("change", () => {
    if (select.value === OTHER) openForm();
    else if (select.value === current) show(form, false);
    else choose(select.value);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = name.value.trim();
    if (isZone(text)) choose(properName(text));
    else {
      error.textContent = "Unknown time zone. Enter a name such as Europe/Berlin.";
      show(error, true);
    }
  });
  return { draw };
}
