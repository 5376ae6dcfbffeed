// The field that chooses a time zone: UTC, that of this browser, or another by its name.

import { byId, h, show } from "./dom.js";
import { isZone, ownZone, spelled, zoneNames } from "./zones.js";

const OTHER = "other";

/**
 * @param choose Called with the name of the zone chosen.
 * @returns `draw`, which shows the zone that is looked at.
 */
export function makeZoneField({ choose }) {
  const [select, form, name, error] = ["zone", "other-zone", "zone-name", "zone-error"].map(byId);
  let drawn = "UTC";

  function draw(zone) {
    drawn = zone;
    const own = ownZone();
    const options = [...new Set(["UTC", own, zone])].map((each) =>
      h("option", { value: each }, each === own && own !== "UTC" ? `${each} (yours)` : each),
    );
    select.replaceChildren(...options, h("option", { value: OTHER }, "Another…"));
    select.value = zone;
    show(form, false);
  }

  function askName() {
    if (!byId("zone-names").children.length) byId("zone-names").append(...zoneNames().map((value) => h("option", { value })));
    name.value = "";
    show(error, false);
    show(form, true);
    name.focus();
  }

  select.addEventListener("change", () => {
    if (select.value === OTHER) askName();
    else if (select.value === drawn) show(form, false);
    else choose(select.value);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = name.value.trim();
    if (isZone(text)) choose(spelled(text));
    else {
      error.textContent = "No zone has this name. Write it like Europe/Berlin.";
      show(error, true);
    }
  });
  return { draw };
}
