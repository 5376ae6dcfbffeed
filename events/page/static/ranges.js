// Ranges and the units that a chart divides them into. Pure functions.
//
// A range is half-open, [start, end), in milliseconds since 1970 UTC. `local` holds what the clocks
// of its time zone show, as a number that reads as UTC. A unit is the API's `window`: hour, day, week
// or month.

import { fromLocal, toLocal } from "./zones.js";

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const WEEK = 7 * DAY;
/** 1970-01-05: weeks start on Monday. */
export const MONDAY = 4 * DAY;
const UNITS = ["hour", "day", "week", "month"];
export const SIZE = Object.freeze({ hour: HOUR, day: DAY, week: WEEK });
/** For the interval "Auto". Eight days have up to 193 hours: clocks may be set back, or the ends cut hours. */
const MAX_BARS_OF_AUTO = Object.freeze({ hour: 8 * 24 + 1, day: 400, week: 400 });
/** The most buckets that the API fills with zeros, and the most on one page. */
export const MAX_BARS = 10_000;
/** 0001-01-01: the service accepts no earlier timestamp. */
export const FIRST_INSTANT = Date.parse("0001-01-01T00:00Z");
/** The service accepts no later timestamp. */
export const LAST_INSTANT = Date.parse("9999-12-31T23:59:59.999Z");

export function iso(at) {
  return new Date(at).toISOString().replace(/\.000Z$/, "Z");
}

export function makeRange(start, end, zone) {
  return { start, end, zone, local: { start: toLocal(start, zone), end: toLocal(end, zone) } };
}

/** The `start` and `end` parameters of a range. */
export function isoRange(range) {
  return { start: iso(range.start), end: iso(range.end) };
}

/**
 * The range that ends with the newest event.
 *
 * `24h` ends with the hour of that event, the others with its day, in the time zone.
 */
export function presetRange(preset, { oldest, newest }, zone) {
  if (preset === "24h") {
    const shift = (toLocal(newest, zone) - newest) % HOUR;
    const end = floorTo(newest + shift, "hour") + HOUR - shift;
    return makeRange(end - DAY, end, zone);
  }
  const end = floorTo(toLocal(newest, zone), "day") + DAY;
  const days = { "7d": 7, "30d": 30 }[preset];
  const start = days ? end - days * DAY : floorTo(toLocal(oldest, zone), "day");
  return makeRange(fromLocal(start, zone), fromLocal(end, zone), zone);
}

/** Parse a date, or a date and time, as local time of the zone; null if invalid. */
export function parseInstant(text, zone) {
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$/.test(text)) return null;
  const local = Date.parse(text.includes("T") ? `${text}Z` : `${text}T00:00Z`);
  const at = Number.isNaN(local) ? NaN : fromLocal(local, zone);
  return Number.isNaN(at) || at < FIRST_INSTANT ? null : at;
}

/** The unit to draw: the chosen one, or a coarser one if the chosen one makes too many bars. */
export function unitFor(interval, range) {
  const isAuto = interval === "auto";
  const units = isAuto ? UNITS : UNITS.slice(UNITS.indexOf(interval));
  const max = (unit) => (isAuto ? MAX_BARS_OF_AUTO[unit] : MAX_BARS);
  return units.find((unit) => unitsIn(range, unit) <= max(unit)) ?? "month";
}

/** How many hours, days, weeks or months a range touches. */
export function unitsIn(range, unit) {
  let { start, end } = range.local;
  // Not by the clocks, which show fewer or more hours on days when they are moved.
  if (unit === "hour") [start, end] = [start, start + range.end - range.start];
  if (unit === "month") return monthOf(end - 1) - monthOf(start) + 1;
  return Math.floor((floorTo(end - 1, unit) - floorTo(start, unit)) / SIZE[unit]) + 1;
}

/**
 * The previous range to compare with: the same local times, moved back by the smallest number of
 * whole units that makes it end before this range starts. So the bars of both line up.
 */
export function previousRange(range, unit) {
  const { start, end, local, zone } = range;
  const wholeUnits = (length) => Math.ceil(length / SIZE[unit]) * SIZE[unit];
  if (unit === "hour") return makeRange(start - wholeUnits(end - start), end - wholeUnits(end - start), zone);
  const months = unit === "month" ? unitsIn(range, unit) : 0;
  const earlier = (at) => (months ? monthsEarlier(at, months) : at - wholeUnits(local.end - local.start));
  return makeRange(fromLocal(earlier(local.start), zone), fromLocal(earlier(local.end), zone), zone);
}

function floorTo(at, unit) {
  const offset = unit === "week" ? MONDAY : 0;
  return Math.floor((at - offset) / SIZE[unit]) * SIZE[unit] + offset;
}

/** Months since the year 0. */
export function monthOf(at) {
  const date = new Date(at);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

export function startOfMonth(month) {
  return new Date(0).setUTCFullYear(Math.floor(month / 12), month % 12, 1);
}

/** The same day and time of an earlier month, or the end of that month if it is shorter. */
function monthsEarlier(at, months) {
  const month = monthOf(at);
  const same = startOfMonth(month - months) + (at - startOfMonth(month));
  return Math.min(same, startOfMonth(month - months + 1));
}
