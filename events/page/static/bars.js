// Bars, the layers they are stacked from, and the ticks of both axes. Pure functions.

import { DAY, HOUR, MONDAY, SIZE, WEEK, monthOf, startOfMonth } from "./ranges.js";

const MAX_LAYERS = 6;

/**
 * The bar of one bucket of the API.
 *
 * `isPartial`: the range covers only a part of the bucket. `isOpen`: the bucket has not ended yet.
 */
export function barOf({ ts_start_of_hour: hour, start, end, count, counts = {}, partial }, now) {
  const first = parsed(hour ?? start);
  const last = hour ? { at: first.at + HOUR, local: first.local + HOUR } : parsed(end);
  return {
    start: first.at,
    end: last.at,
    local: { start: first.local, end: last.local },
    count,
    counts: new Map(Object.entries(counts)),
    isPartial: partial,
    isOpen: first.at <= now && now < last.at,
  };
}

/** Parse `2021-03-28T00:00:00.000000+01:00`. `Date` cannot read the offsets with seconds of long ago. */
function parsed(text) {
  const local = Date.parse(`${text.slice(0, 19)}Z`);
  const [, sign, ...parts] = /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(text) ?? [];
  const [hours = 0, minutes = 0, seconds = 0] = parts.map((part) => Number(part ?? 0));
  const offset = ((hours * 60 + minutes) * 60 + seconds) * 1_000;
  return { local, at: local - (sign === "-" ? -offset : offset) };
}

/** Sort `[type, total]` pairs by total, largest first. */
export function ranked(totals) {
  return [...totals].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
}

/** A map from each event type in these bars to its total. */
export function totalsByType(bars) {
  const totals = new Map();
  for (const { counts } of bars) {
    for (const [type, count] of counts) totals.set(type, (totals.get(type) ?? 0) + count);
  }
  return totals;
}

/**
 * The layers of a stack, from the bottom up: the largest types, then all other types as one layer.
 *
 * @param rankedTypes `[type, total]` pairs of all types, largest first. They decide the colors.
 * @param types The types to show; empty for all.
 */
export function layersOf(rankedTypes, types) {
  const all = rankedTypes.map(([type]) => type);
  const isWhole = all.length <= MAX_LAYERS;
  const largest = isWhole ? all : all.slice(0, MAX_LAYERS - 1);
  const layers = largest.map((type, index) => ({ name: type, types: [type], tone: index }));
  if (!isWhole) layers.push({ name: "All others", types: all.slice(MAX_LAYERS - 1), tone: MAX_LAYERS - 1 });
  if (!types.length) return layers;
  const chosen = new Set(types);
  return layers
    .map((layer) => ({ ...layer, types: layer.types.filter((type) => chosen.has(type)) }))
    .filter((layer) => layer.types.length);
}

/** One layer for all types together. */
export const TOTAL = Object.freeze({ name: "Total", types: [], tone: 0, isTotal: true });

export function countIn(bar, layer) {
  if (layer.isTotal) return bar.count;
  return layer.types.reduce((sum, type) => sum + (bar.counts.get(type) ?? 0), 0);
}

/** The reasons of the marks within a bar. */
export function reasonsIn(bar, marks) {
  return marks.filter(({ at }) => bar.start <= at && at < bar.end).map(({ reason }) => reason);
}

/** The bar with the most events, the first one if several have as many; null if no bar has any. */
export function busiest(bars) {
  return bars.reduce((best, bar) => (bar.count > (best?.count ?? 0) ? bar : best), null);
}

/** Round steps from 0 to at least `max`, about `number` of them. */
export function valueTicks(max, number) {
  const rough = Math.max(max, 1) / number;
  const power = 10 ** Math.max(0, Math.floor(Math.log10(rough)));
  const factors = power === 1 ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10];
  const step = factors.map((factor) => factor * power).find((size) => size >= rough);
  return Array.from({ length: Math.ceil(max / step || 1) + 1 }, (_, index) => index * step);
}

/** The indexes of the bars to label on the time axis: at round times, at most about `number`. */
export function timeTicks(bars, unit, number) {
  const { times, step } = roundTimes(bars[0].local.start, bars.at(-1).local.end, unit, number);
  const indexes = [];
  let index = 0;
  for (const time of times) {
    while (index < bars.length && bars[index].local.start < time) index += 1;
    if (index < bars.length && indexes.at(-1) !== index) indexes.push(index);
  }
  return { indexes, step };
}

function roundTimes(start, end, unit, number) {
  const times = [];
  const sizes = [HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY, WEEK, 2 * WEEK];
  const size = unit === "month" ? null : sizes.find((size) => size >= SIZE[unit] && (end - start) / size <= number);
  if (size) {
    const offset = size % WEEK === 0 ? MONDAY : 0;
    for (let at = Math.ceil((start - offset) / size) * size + offset; at < end; at += size) times.push(at);
    return { times, step: size < DAY ? "hour" : "day" };
  }
  const months = monthOf(end - 1) - monthOf(start) + 1;
  const step = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1200].find((size) => months / size <= number) ?? 6000;
  for (let month = Math.ceil(monthOf(start) / step) * step; startOfMonth(month) < end; month += step) {
    if (startOfMonth(month) >= start) times.push(startOfMonth(month));
  }
  return { times, step: step < 12 ? "month" : "year" };
}
