// What is looked at, as the address says it: a link shows the same view to someone else.

import { fromLocal, isZone, toLocal } from "./zones.js";

export const RANGES = ["24h", "7d", "30d", "all", "own"];
export const BARS = ["auto", "hour", "day", "week", "month"];

/** As the service writes instants, as far as a browser reads them. */
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,3}0*)?(Z|[+-]\d{2}:\d{2})$/;

const DEFAULTS = Object.freeze({
  customer: "",
  range: "30d",
  start: "",
  end: "",
  timezone: "UTC",
  types: Object.freeze([]),
  view: "stacked",
  bars: "auto",
  compare: false,
});

/** The view that a query string names; what it says wrongly is as if it were not there. */
export function readState(search) {
  const query = new URLSearchParams(search);
  const oneOf = (name, allowed, otherwise = DEFAULTS[name]) =>
    allowed.includes(query.get(name)) ? query.get(name) : otherwise;
  const timezone = isZone(query.get("timezone") ?? "") ? query.get("timezone") : DEFAULTS.timezone;
  return Object.freeze({
    customer: query.get("customer") ?? "",
    range: oneOf("range", RANGES, query.has("start") && query.has("end") ? "own" : DEFAULTS.range),
    start: asTyped(query.get("start") ?? "", timezone),
    end: asTyped(query.get("end") ?? "", timezone),
    timezone,
    types: Object.freeze([...new Set(query.getAll("event_type"))].filter(Boolean)),
    view: oneOf("view", ["stacked", "total"]),
    bars: oneOf("bars", BARS),
    compare: query.get("compare") === "previous",
  });
}

/** The shortest query string that names a view. */
export function writeState(state) {
  const query = new URLSearchParams();
  for (const name of ["customer", "range", "start", "end", "timezone", "view", "bars"]) {
    if (state[name] !== DEFAULTS[name]) query.set(name, state[name]);
  }
  if (state.range !== "own") ["start", "end"].forEach((name) => query.delete(name));
  for (const type of state.types) query.append("event_type", type);
  if (state.compare) query.set("compare", "previous");
  const text = query.toString();
  return text ? `?${text}` : "";
}

export function changed(state, change) {
  return Object.freeze({ ...state, ...change });
}

/** As the fields of the page show it: of a date its midnight, of an instant the clocks of the zone. */
function asTyped(text, zone) {
  if (/^\d{4}-\d{2}-\d{2}$/.test(text)) return `${text}T00:00`;
  const at = INSTANT.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(at)) return text;
  const local = toLocal(at, zone);
  // Of a time that comes twice no field can say which.
  return fromLocal(local, zone) === at ? new Date(local).toISOString().replace(/(:00)?\.000Z$|Z$/, "") : text;
}
