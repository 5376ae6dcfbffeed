// The state of the page: what the reader chose. The URL holds all of it, so a link shows the same view.

import { fromLocal, isZone, toLocal } from "./zones.js";

const RANGES = ["24h", "7d", "30d", "all", "own"];
const INTERVALS = ["auto", "hour", "day", "week", "month"];

/** A timestamp as the API writes it, with at most three decimals: `Date` has no more. */
const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,3}0*)?(Z|[+-]\d{2}:\d{2})$/;

/** A mark in the URL: an instant, and the reason to look at it, such as an anomaly. */
const MARK = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z) (.{1,300})$/su;
const MAX_MARKS = 100;

/** `range` "own": the dates in `start` and `end`, as the form shows them. `types`: none means all. */
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
  marks: Object.freeze([]),
});

/** Read the state from a query string; invalid values count as missing. */
export function readState(search) {
  const query = new URLSearchParams(search);
  const oneOf = (name, allowed, fallback = DEFAULTS[name]) => (allowed.includes(query.get(name)) ? query.get(name) : fallback);
  const timezone = isZone(query.get("timezone") ?? "") ? query.get("timezone") : DEFAULTS.timezone;
  return Object.freeze({
    customer: query.get("customer") ?? "",
    range: oneOf("range", RANGES, query.has("start") && query.has("end") ? "own" : DEFAULTS.range),
    start: toFieldValue(query.get("start") ?? "", timezone),
    end: toFieldValue(query.get("end") ?? "", timezone),
    timezone,
    types: Object.freeze([...new Set(query.getAll("event_type"))].filter(Boolean)),
    view: oneOf("view", ["stacked", "total"]),
    bars: oneOf("bars", INTERVALS),
    compare: query.get("compare") === "previous",
    marks: Object.freeze(query.getAll("mark").map(readMark).filter(Boolean).slice(0, MAX_MARKS)),
  });
}

/** The shortest query string that holds the state. */
export function writeState(state) {
  const query = new URLSearchParams();
  for (const name of ["customer", "range", "start", "end", "timezone", "view", "bars"]) {
    if (state[name] !== DEFAULTS[name]) query.set(name, state[name]);
  }
  if (state.range !== "own") ["start", "end"].forEach((name) => query.delete(name));
  for (const type of state.types) query.append("event_type", type);
  if (state.compare) query.set("compare", "previous");
  for (const { text } of state.marks) query.append("mark", text);
  const text = query.toString();
  return text ? `?${text}` : "";
}

function readMark(text) {
  const [, at, reason] = MARK.exec(text) ?? [];
  return Number.isNaN(Date.parse(at)) ? null : Object.freeze({ at: Date.parse(at), reason, text });
}

/** The local time that a `datetime-local` field shows for a date (its midnight) or a timestamp. */
function toFieldValue(text, zone) {
  if (/^\d{4}-\d{2}-\d{2}$/.test(text)) return `${text}T00:00`;
  const at = TIMESTAMP.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(at)) return text;
  const local = toLocal(at, zone);
  // A field cannot say which one of a local time that occurs twice: keep the timestamp, which is
  // then reported as invalid.
  return fromLocal(local, zone) === at ? new Date(local).toISOString().replace(/(:00)?\.000Z$|Z$/, "") : text;
}
