// Windows, bars, layers and ticks; pure. In milliseconds, [start, end). `local` is what the clocks of
// a zone show, as if it were UTC.

import { fromLocal, toLocal } from "./zones.js";

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const WEEK = 7 * DAY;
/** 1970-01-05: weeks begin on Monday. */
const MONDAY = 4 * DAY;
const UNITS = ["hour", "day", "week", "month"];
const SIZE = Object.freeze({ hour: HOUR, day: DAY, week: WEEK });
/** Where the reader leaves the choice to the page; eight days may have an hour more, or a cut one. */
const MOST_OF_AUTO = Object.freeze({ hour: 8 * 24 + 1, day: 400, week: 400 });
/** What the API fills with zeros, and gives on one page. A finer choice gives way to a coarser one. */
export const MOST_BARS = 10_000;
const MOST_SERIES = 6;
/** 0001-01-01: the service knows no earlier instant. */
export const FIRST_INSTANT = Date.parse("0001-01-01T00:00Z");

export function iso(at) {
  return new Date(at).toISOString().replace(/\.000Z$/, "Z");
}

// --- windows --------------------------------------------------------------------------------------

/** A window, and what the clocks of the zone show at its ends. */
export function makeWindow(start, end, zone) {
  return { start, end, zone, local: { start: toLocal(start, zone), end: toLocal(end, zone) } };
}

export function isoOf(window) {
  return { start: iso(window.start), end: iso(window.end) };
}

/**
 * The window that a range names, ending with the newest event there is.
 *
 * 24 h ends with its UTC hour; days are whole days of the zone and end with its day.
 */
export function presetWindow(range, { oldest, newest }, zone) {
  if (range === "24h") {
    const end = floorTo(newest, "hour") + HOUR;
    return makeWindow(end - DAY, end, zone);
  }
  const end = floorTo(toLocal(newest, zone), "day") + DAY;
  const days = { "7d": 7, "30d": 30 }[range];
  const start = days ? end - days * DAY : floorTo(toLocal(oldest, zone), "day");
  return makeWindow(fromLocal(start, zone), fromLocal(end, zone), zone);
}

/** What the reader typed, as an instant by the clocks of the zone; null if it is none. */
export function parseInstant(text, zone) {
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$/.test(text)) return null;
  const local = Date.parse(text.includes("T") ? `${text}Z` : `${text}T00:00Z`);
  const at = Number.isNaN(local) ? NaN : fromLocal(local, zone);
  return Number.isNaN(at) || at < FIRST_INSTANT ? null : at;
}

/** How long a bar is: as the reader chose, or as fits. */
export function unitFor(bars, window) {
  if (bars === "auto") return UNITS.find((unit) => unitsIn(window, unit) <= (MOST_OF_AUTO[unit] ?? Infinity));
  const coarser = UNITS.slice(UNITS.indexOf(bars));
  return coarser.find((unit) => unitsIn(window, unit) <= MOST_BARS) ?? "month";
}

/** How many hours, days, weeks or months a window touches. */
export function unitsIn(window, unit) {
  const { start, end } = unit === "hour" ? window : window.local;
  if (unit === "month") return monthOf(end - 1) - monthOf(start) + 1;
  return Math.floor((floorTo(end - 1, unit) - floorTo(start, unit)) / SIZE[unit]) + 1;
}

/**
 * The window to compare with: by the same clock times, so many whole hours, days, weeks or months
 * earlier that it ends before this one begins. So its bars stand beside those of this one.
 */
export function windowBefore(window, unit) {
  const { start, end, local, zone } = window;
  const steps = (length) => Math.ceil(length / SIZE[unit]) * SIZE[unit];
  if (unit === "hour") return makeWindow(start - steps(end - start), end - steps(end - start), zone);
  const months = unit === "month" ? unitsIn(window, unit) : 0;
  const earlier = (at) => (months ? monthsEarlier(at, months) : at - steps(local.end - local.start));
  return makeWindow(fromLocal(earlier(local.start), zone), fromLocal(earlier(local.end), zone), zone);
}

function floorTo(at, unit) {
  const offset = unit === "week" ? MONDAY : 0;
  return Math.floor((at - offset) / SIZE[unit]) * SIZE[unit] + offset;
}

/** Months since the year 0. */
function monthOf(at) {
  const date = new Date(at);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

function startOfMonth(month) {
  return new Date(0).setUTCFullYear(Math.floor(month / 12), month % 12, 1);
}

/** The same day and time of an earlier month, or the end of that month where it is shorter. */
function monthsEarlier(at, months) {
  const month = monthOf(at);
  const same = startOfMonth(month - months) + (at - startOfMonth(month));
  return Math.min(same, startOfMonth(month - months + 1));
}

// --- bars and layers ------------------------------------------------------------------------------

/**
 * The bar of a bucket as the API gives it.
 *
 * `isPartial`: the window cuts the bar. `isOpen`: the bar is not over yet.
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

/** `2021-03-28T00:00:00.000000+01:00`; offsets had seconds long ago, which `Date` does not read. */
function parsed(text) {
  const local = Date.parse(`${text.slice(0, 19)}Z`);
  const [, sign, ...parts] = /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(text) ?? [];
  const [hours = 0, minutes = 0, seconds = 0] = parts.map((part) => Number(part ?? 0));
  const offset = ((hours * 60 + minutes) * 60 + seconds) * 1_000;
  return { local, at: local - (sign === "-" ? -offset : offset) };
}

/** Types with their totals, the greatest first. */
export function ranked(totals) {
  return [...totals].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
}

/** Every type of these bars with its total. */
export function typesOf(bars) {
  const totals = new Map();
  for (const { counts } of bars) {
    for (const [type, count] of counts) totals.set(type, (totals.get(type) ?? 0) + count);
  }
  return totals;
}

/** The layers of a stack, from the bottom up: the greatest types, and all others together. */
export function layersOf(all, types) {
  const chosen = all.map(([type]) => type);
  const isAlone = chosen.length <= MOST_SERIES;
  const own = isAlone ? chosen : chosen.slice(0, MOST_SERIES - 1);
  const layers = own.map((type, index) => ({ name: type, types: [type], tone: index }));
  if (!isAlone) {
    layers.push({ name: "All others", types: chosen.slice(MOST_SERIES - 1), tone: MOST_SERIES - 1, isRest: true });
  }
  if (!types.length) return layers;
  const isChosen = new Set(types);
  return layers
    .map((layer) => ({ ...layer, types: layer.types.filter((type) => isChosen.has(type)) }))
    .filter((layer) => layer.types.length);
}

export function countIn(bar, layer) {
  return layer.types.reduce((sum, type) => sum + (bar.counts.get(type) ?? 0), 0);
}

/** The bar with the most events, of equal ones the first; null: none has any. */
export function busiest(bars) {
  return bars.reduce((best, bar) => (bar.count > (best?.count ?? 0) ? bar : best), null);
}

// --- axes -----------------------------------------------------------------------------------------

/** Round whole steps from 0 to at least `most`, about `number` of them. */
export function valueTicks(most, number = 4) {
  const rough = Math.max(most, 1) / number;
  const power = 10 ** Math.max(0, Math.floor(Math.log10(rough)));
  const factors = power === 1 ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10];
  const step = factors.map((each) => each * power).find((each) => each >= rough);
  return Array.from({ length: Math.ceil(most / step || 1) + 1 }, (_, place) => place * step);
}

/** Places of bars to be named on the time axis, at most about `number`, at round times. */
export function timeTicks(bars, unit, number) {
  const { ticks, step } = roundTimes(bars[0].local.start, bars.at(-1).local.end, unit, number);
  const places = [];
  let place = 0;
  for (const at of ticks) {
    while (place < bars.length && bars[place].local.start < at) place += 1;
    if (place < bars.length && places.at(-1) !== place) places.push(place);
  }
  return { places, step };
}

function roundTimes(start, end, unit, number) {
  const steps = [HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY, WEEK, 2 * WEEK];
  const step = unit === "month" ? null : steps.find((each) => each >= SIZE[unit] && (end - start) / each <= number);
  if (step) {
    const offset = step % WEEK === 0 ? MONDAY : 0;
    const ticks = [];
    for (let at = Math.ceil((start - offset) / step) * step + offset; at < end; at += step) ticks.push(at);
    return { ticks, step: step < DAY ? "hour" : "day" };
  }
  const months = monthOf(end - 1) - monthOf(start) + 1;
  const each = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1200].find((size) => months / size <= number) ?? 6000;
  const ticks = [];
  for (let month = Math.ceil(monthOf(start) / each) * each; startOfMonth(month) < end; month += each) {
    if (startOfMonth(month) >= start) ticks.push(startOfMonth(month));
  }
  return { ticks, step: each < 12 ? "month" : "year" };
}
