// From what is asked to what is known: the window, its buckets, those of the period before.

import { getBuckets, getEdge } from "./api.js";
import { FIRST_INSTANT, iso, parseInstant, presetWindow } from "./series.js";

/** What was typed as dates is no window. */
export class BadDates extends Error {}

/**
 * The data of a view.
 *
 * @returns `{newest, window, isoWindow, total, lastIngestedAt, buckets, previous}`; `newest` null:
 *   the customer has no events.
 */
export async function load(state, signal) {
  if (state.range === "own") {
    const window = ownWindow(state);
    const [newest, data] = await Promise.all([getEdge(state.customer, "newest", signal), dataOf(state, window, signal)]);
    return { newest: at(newest), ...data };
  }
  const [newest, oldest] = await Promise.all([
    getEdge(state.customer, "newest", signal),
    state.range === "all" ? getEdge(state.customer, "oldest", signal) : null,
  ]);
  if (newest === null) return { newest: null };
  const window = presetWindow(state.range, at(oldest ?? newest), at(newest));
  return { newest: at(newest), ...(await dataOf(state, window, signal)) };
}

async function dataOf(state, window, signal) {
  const length = window.end - window.start;
  const before = { start: window.start - length, end: window.start };
  const isThereABefore = state.compare && before.start >= FIRST_INSTANT;
  const [now, previous] = await Promise.all([
    getBuckets(state.customer, isoOf(window), { isGrouped: true }, signal),
    isThereABefore ? getBuckets(state.customer, isoOf(before), { types: state.types }, signal) : null,
  ]);
  return { window, isoWindow: isoOf(window), length, ...now, previous };
}

function isoOf(window) {
  return { start: iso(window.start), end: iso(window.end) };
}

function ownWindow({ start, end }) {
  const window = { start: parseInstant(start), end: parseInstant(end) };
  if (window.start === null || window.end === null) throw new BadDates("Give both dates.");
  if (window.start >= window.end) throw new BadDates("The end must be later than the start.");
  return window;
}

function at(text) {
  return text === null ? null : Date.parse(text);
}
