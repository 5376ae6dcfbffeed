// From what is asked to what is known: first what the chart needs, then what stands around it.

import { getBuckets, getEvents, getSummary } from "./api.js";
import { FIRST_INSTANT, MOST_BARS, barOf, isoOf, makeWindow, parseInstant, presetWindow, unitFor, unitsIn, windowBefore } from "./series.js";

/** What was typed as dates is no window. */
export class BadDates extends Error {}

/**
 * What the chart of a view needs: with own dates one request to the buckets route and no other,
 * unless nothing is in them.
 *
 * @param edges Those of the customer, as `loadEdges` found them; null: not known.
 * @returns `{edges}` alone if the customer has nothing to draw, else with `window`, `unit`, `types`,
 *   `isGrouped`, `isFilled`, `total`, `lastIngestedAt`, `bars`, `previous` and `isWithoutBefore`.
 */
export async function loadChart(state, edges, signal) {
  if (state.range === "own") {
    const chart = await chartOf(state, ownWindow(state), signal);
    const found = edges ?? (chart.total === 0 ? await loadEdges(state, signal) : null);
    return found?.newest === null ? { edges: found } : { edges: found, ...chart };
  }
  const found = edges ?? (await loadEdges(state, signal));
  if (found.newest === null) return { edges: found };
  return { edges: found, ...(await chartOf(state, presetWindow(state.range, found, state.timezone), signal)) };
}

/**
 * When a customer's events begin and end.
 *
 * @returns `{newest, oldest, voided, summary}`; `newest` null: no event counts, and `voided` is the
 *   newest of those that are voided, if there is one. `oldest` and `summary` only for the range of all.
 */
export async function loadEdges({ customer, range }, signal) {
  const isAll = range === "all";
  const [events, whole] = await Promise.all([getEvents(customer, "newest", signal), isAll ? getSummary(customer, null, signal) : null]);
  const counted = events.find((event) => event.voided_at === null);
  if (!counted && !events.length) return { newest: null, voided: null };
  // Behind many voided events the counters know where those that count are.
  const summary = whole ?? (counted ? null : await getSummary(customer, null, signal));
  if (summary?.total === 0) return { newest: null, voided: events[0] };
  // A summary leaves an edge unsaid beside thousands of voided events: then it is one of those.
  const newest = Date.parse(counted?.timestamp ?? summary.last_event_at ?? events[0].timestamp);
  if (!isAll) return { newest, voided: null };
  const oldest = summary.first_event_at ?? (await getEvents(customer, "oldest", signal))[0].timestamp;
  return { newest, oldest: Date.parse(oldest), voided: null, summary };
}

/** What the numbers and lists around a chart need beyond it. */
export async function loadRest(state, chart, signal) {
  const [edges, summary] = await Promise.all([
    chart.edges ?? loadEdges(state, signal),
    chart.summary ?? chart.edges?.summary ?? (tellsAll(chart) ? null : getSummary(state.customer, isoOf(chart.window), signal)),
  ]);
  return { edges, summary };
}

/** Whether the bars themselves tell every type and the busiest hour. */
function tellsAll({ unit, types, isGrouped }) {
  return unit === "hour" && isGrouped && !types.length;
}

async function chartOf(state, window, signal) {
  const unit = unitFor(state.bars, window);
  const isFilled = unitsIn(window, unit) <= MOST_BARS;
  if (!isFilled && state.range === "own") throw new BadDates("At most 10,000 months can be drawn.");
  const asked = { unit, zone: state.timezone, types: state.types, isGrouped: state.view === "stacked" };
  const before = windowBefore(window, unit);
  // None before the first instant, nor on the last days of a month in a shorter one.
  const isThereABefore = isFilled && before.start >= FIRST_INSTANT && before.start < before.end;
  const barsIn = async (part, options) => {
    const { buckets, ...answer } = await getBuckets(state.customer, isoOf(part), options, isFilled, signal);
    return { window: part, ...answer, bars: buckets.map((bucket) => barOf(bucket, Date.now())) };
  };
  const [now, previous] = await Promise.all([
    barsIn(window, asked),
    state.compare && isThereABefore ? barsIn(before, { ...asked, isGrouped: false }) : null,
  ]);
  return { ...asked, isFilled, ...now, previous, isWithoutBefore: state.compare && !isThereABefore };
}

function ownWindow({ start, end, timezone }) {
  const [first, last] = [parseInstant(start, timezone), parseInstant(end, timezone)];
  if (first === null || last === null) throw new BadDates("Give both dates.");
  if (first >= last) throw new BadDates("The end must be later than the start.");
  return makeWindow(first, last, timezone);
}
