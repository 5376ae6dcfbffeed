// Numbers and times as text. Times are formatted as UTC: pass local times for another zone.

import { DAY, HOUR } from "./ranges.js";

const number = new Intl.NumberFormat("en-US");
const small = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 2 });
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const inUtc = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
const shortDay = inUtc({ day: "numeric", month: "short" });
const longDay = inUtc({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const plainDay = inUtc({ day: "numeric", month: "short", year: "numeric" });
const month = inUtc({ month: "short", year: "numeric" });
const longMonth = inUtc({ month: "long", year: "numeric" });
const year = inUtc({ year: "numeric" });
const clock = inUtc({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exactClock = inUtc({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const count = (value) => number.format(value);
/** With two digits below 1, so that a few events in many hours do not average to 0. */
export const average = (value) => (value < 1 ? small.format(value) : number.format(Math.round(value * 10) / 10));
export const shortCount = (value) => (value < 10_000 ? number.format(value) : compact.format(value));
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export function tick(at, step) {
  if (step === "hour") return at % DAY === 0 ? shortDay.format(at) : clock.format(at);
  return { day: shortDay, month, year }[step].format(at);
}

/** The time that a bar covers. */
export function barTime({ local: { start, end } }, unit) {
  if (unit === "hour") return `${longDay.format(start)}, ${clock.format(start)}–${clock.format(end)}`;
  if (unit === "day") return longDay.format(start);
  if (unit === "month") return longMonth.format(start);
  return `${plainDay.format(start)} – ${plainDay.format(end - DAY)}`;
}

/** The time that names a row of the table. */
export function rowTime({ local: { start } }, unit) {
  if (unit === "month") return month.format(start);
  return unit === "hour" ? instant(start) : plainDay.format(start);
}

/** Start and end of a range, in its zone. Whole days include the last day. */
export function rangeText({ local: { start, end } }) {
  if (start % DAY || end % DAY) return `${instant(start)} – ${instant(end)}`;
  const last = end - DAY;
  return start === last ? longDay.format(start) : `${plainDay.format(start)} – ${plainDay.format(last)}`;
}

const instant = (at) => `${plainDay.format(at)}, ${clock.format(at)}`;
export const exact = (at) => `${plainDay.format(at)}, ${exactClock.format(at)} UTC`;
export const hourText = (start, zone = "UTC") => `${instant(start)}–${clock.format(start + HOUR)} ${zone}`;

/** The change from one count to another in percent, with its sign. */
export function change(now, before) {
  if (before === 0) return now === 0 ? "no change" : "none before";
  const percent = ((now - before) / before) * 100;
  const rounded = Math.abs(percent) >= 100 ? Math.round(percent) : Math.round(percent * 10) / 10;
  return `${rounded > 0 ? "+" : rounded < 0 ? "−" : "±"}${number.format(Math.abs(rounded))}%`;
}

export const capitalized = (text) => text[0].toUpperCase() + text.slice(1);

/** Text of the API as a sentence: with a capital letter and a full stop. */
export function sentence(text) {
  const whole = capitalized(text || "the service gave no reason");
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
