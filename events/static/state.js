// What is looked at, as the address says it: a link shows the same view to someone else.

import { isZone } from "./zones.js";

export const RANGES = ["24h", "7d", "30d", "all", "own"];
export const BARS = ["auto", "hour", "day", "week", "month"];

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
  return Object.freeze({
    customer: query.get("customer") ?? "",
    range: oneOf("range", RANGES, query.has("start") && query.has("end") ? "own" : DEFAULTS.range),
    start: withTime(query.get("start") ?? ""),
    end: withTime(query.get("end") ?? ""),
    timezone: isZone(query.get("timezone") ?? "") ? query.get("timezone") : DEFAULTS.timezone,
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

/** A date alone is its midnight: the fields of the page show nothing else. */
function withTime(text) {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text;
}
