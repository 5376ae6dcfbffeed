// The queries behind a view: first those that the chart needs, then those for what surrounds it.

import { getBuckets, getEvents, getSummary } from "./api.js";
import { barOf } from "./bars.js";
import { FIRST_INSTANT, MAX_BARS, iso, isoRange, makeRange, parseInstant, presetRange, previousRange, unitFor, unitsIn } from "./ranges.js";

/** The dates that the reader entered are not a range that can be drawn. */
export class InvalidDates extends Error {}

/**
 * Query what the chart of a state needs.
 *
 * Custom dates need a single request. The other ranges end with the customer's newest event, which
 * is looked up first.
 *
 * @param extent The customer's extent if it is known (see `queryExtent`), else null.
 * @returns `{extent}` alone if the customer has no events that count. Otherwise also `range`, `unit`,
 *   `zone`, `types`, `isGrouped` (by event type), `isFilled` (with empty bars), `total`,
 *   `lastIngestedAt`, `bars`, `previous` and `isPreviousMissing`. `extent` may be null.
 */
export async function queryChart(state, extent, signal) {
  if (state.range === "own") {
    const chart = await queryBars(state, customRange(state), signal);
    const known = extent ?? (chart.total === 0 ? await queryExtent(state, signal) : null);
    return known?.newest === null ? { extent: known } : { extent: known, ...chart };
  }
  const known = extent ?? (await queryExtent(state, signal));
  if (known.newest === null) return { extent: known };
  return { extent: known, ...(await queryBars(state, presetRange(state.range, known, state.timezone), signal)) };
}

/**
 * Query when a customer's events start and end.
 *
 * @returns `{newest, latest, oldest, voided, summary}`. `newest` is the newest event up to now, if
 *   there is one, and `latest` the last of all. If `newest` is null, no event counts, and `voided` is
 *   the newest voided event or null. `oldest` and `summary` are only known for the range "all".
 */
async function queryExtent({ customer, range }, signal) {
  const isAll = range === "all";
  const [events, allTime] = await Promise.all([getEvents(customer, "newest", signal), isAll ? getSummary(customer, null, signal) : null]);
  const counted = events.find((event) => event.voided_at === null);
  if (!events.length) return { newest: null, voided: null };
  // If the newest events are all voided, the summary knows the newest one that counts.
  const summary = allTime ?? (counted ? null : await getSummary(customer, null, signal));
  if (summary?.total === 0) return { newest: null, voided: events[0] };
  // A summary has no first or last event if thousands of voided ones precede it: use a voided one.
  const latest = Date.parse(counted?.timestamp ?? summary.last_event_at ?? events[0].timestamp);
  const now = Date.now();
  const past = latest > now ? await getSummary(customer, { start: iso(FIRST_INSTANT), end: iso(now) }, signal) : null;
  const newest = past?.last_event_at ? Date.parse(past.last_event_at) : latest;
  if (!isAll) return { newest, latest, voided: null };
  const oldest = summary.first_event_at ?? (await getEvents(customer, "oldest", signal))[0].timestamp;
  return { newest, latest, oldest: Date.parse(oldest), voided: null, summary: newest === latest ? summary : null };
}

/** Query what the numbers and the list of types need beyond the chart: the `extent` and the `summary`. */
export async function queryDetails(state, chart, signal) {
  // Hours of all types, by type, already hold every type's total and the busiest hour.
  const isEnough = chart.unit === "hour" && chart.isGrouped && !chart.types.length;
  const [extent, summary] = await Promise.all([
    chart.extent ?? queryExtent(state, signal),
    chart.summary ?? chart.extent?.summary ?? (isEnough ? null : getSummary(state.customer, isoRange(chart.range), signal)),
  ]);
  return { extent, summary };
}

/** Whether new events may change what is shown: the range holds the newest event, or there is none. */
export function isLive({ extent, range }) {
  if (!extent) return false;
  return extent.newest === null || (range.start <= extent.newest && extent.newest < range.end);
}

async function queryBars(state, range, signal) {
  const unit = unitFor(state.bars, range);
  const isFilled = unitsIn(range, unit) <= MAX_BARS;
  if (!isFilled && state.range === "own") throw new InvalidDates("This range is too long: the chart has at most 10,000 months.");
  const options = { unit, zone: state.timezone, types: state.types, isGrouped: state.view === "stacked" };
  const before = previousRange(range, unit);
  // Missing before the first possible timestamp, and for the last days of a month in a shorter month.
  const hasPrevious = isFilled && before.start >= FIRST_INSTANT && before.start < before.end;
  const barsIn = async (part, partOptions) => {
    const { buckets, ...answer } = await getBuckets(state.customer, isoRange(part), partOptions, isFilled, signal);
    return { range: part, ...answer, bars: buckets.map((bucket) => barOf(bucket, Date.now())) };
  };
  const [current, previous] = await Promise.all([
    barsIn(range, options),
    state.compare && hasPrevious ? barsIn(before, { ...options, isGrouped: false }) : null,
  ]);
  return { ...options, isFilled, ...current, previous, isPreviousMissing: state.compare && !hasPrevious };
}

function customRange({ start, end, timezone }) {
  const [first, last] = [parseInstant(start, timezone), parseInstant(end, timezone)];
  if (first === null || last === null) throw new InvalidDates("Enter a valid start and a valid end.");
  if (first >= last) throw new InvalidDates("The end must be later than the start.");
  return makeRange(first, last, timezone);
}
