// Numbers and times as people read them. Times are shown as UTC would be: give local ones for a zone.

import { DAY, HOUR } from "./series.js";

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
/** Of few events among many hours it says more than 0. */
export const average = (value) => (value < 1 ? small.format(value) : number.format(Math.round(value * 10) / 10));
export const shortCount = (value) => (value < 10_000 ? number.format(value) : compact.format(value));
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export function tick(at, step) {
  if (step === "hour") return at % DAY === 0 ? shortDay.format(at) : clock.format(at);
  return { day: shortDay, month, year }[step].format(at);
}

/** The time of one bar, by its own clocks. */
export function span({ local: { start, end } }, unit) {
  if (unit === "hour") return `${longDay.format(start)}, ${clock.format(start)}–${clock.format(end)}`;
  if (unit === "day") return longDay.format(start);
  if (unit === "month") return longMonth.format(start);
  return `${plainDay.format(start)} – ${plainDay.format(end - DAY)}`;
}

export function rowTime({ local: { start } }, unit) {
  if (unit === "month") return month.format(start);
  return unit === "hour" ? `${plainDay.format(start)}, ${clock.format(start)}` : plainDay.format(start);
}

/** From where to where, by the clocks of the window's zone. */
export function windowText({ local: { start, end } }) {
  const isDays = start % DAY === 0 && end % DAY === 0;
  if (isDays) {
    const last = end - DAY;
    return start === last ? longDay.format(start) : `${plainDay.format(start)} – ${plainDay.format(last)}`;
  }
  return `${instant(start)} – ${instant(end)}`;
}

export const instant = (at) => `${plainDay.format(at)}, ${clock.format(at)}`;
export const exact = (at) => `${plainDay.format(at)}, ${exactClock.format(at)} UTC`;
export const hourSpan = (start) => `${plainDay.format(start)}, ${clock.format(start)}–${clock.format(start + HOUR)}`;

/** By how much a number changed, with its sign. */
export function change(now, before) {
  if (before === 0) return now === 0 ? "no change" : "none before";
  const percent = ((now - before) / before) * 100;
  const shown = Math.abs(percent) >= 100 ? Math.round(percent) : Math.round(percent * 10) / 10;
  return `${shown > 0 ? "+" : shown < 0 ? "−" : "±"}${number.format(Math.abs(shown))} %`;
}
