// What is looked at, as the address says it: a link shows the same view to someone else.

export const RANGES = ["24h", "7d", "30d", "all", "own"];
export const BARS = ["auto", "hour", "day", "week"];

const DEFAULTS = Object.freeze({
  customer: "",
  range: "30d",
  start: "",
  end: "",
  types: Object.freeze([]),
  view: "stacked",
  bars: "auto",
  compare: false,
});

/** The view that a query string names; what it says wrongly is as if it were not there. */
export function readState(search) {
  const query = new URLSearchParams(search);
  const oneOf = (name, allowed) =>
    allowed.includes(query.get(name)) ? query.get(name) : DEFAULTS[name];
  return Object.freeze({
    customer: query.get("customer") ?? "",
    range: oneOf("range", RANGES),
    start: query.get("start") ?? "",
    end: query.get("end") ?? "",
    types: Object.freeze([...new Set(query.getAll("event_type"))].filter(Boolean)),
    view: oneOf("view", ["stacked", "total"]),
    bars: oneOf("bars", BARS),
    compare: query.get("compare") === "previous",
  });
}

/** The shortest query string that names a view. */
export function writeState(state) {
  const query = new URLSearchParams();
  for (const name of ["customer", "range", "start", "end", "view", "bars"]) {
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
