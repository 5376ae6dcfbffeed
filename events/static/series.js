// Hours to bars, windows and ticks; pure. All in UTC, in milliseconds, [start, end).

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const WEEK = 7 * DAY;
/** 1970-01-05: weeks begin on Monday. */
const MONDAY = 4 * DAY;
/** Hours that are still one bar each when the reader leaves the choice to the page. */
const MOST_HOUR_BARS = 8 * 24;
const MOST_DAY_BARS = 400;
/** What is drawn at most; a finer choice gives way to a coarser one. */
export const MOST_BARS = 20_000;
const MOST_SERIES = 6;
/** 0001-01-01: the service knows no earlier instant. */
export const FIRST_INSTANT = Date.parse("0001-01-01T00:00Z");

export const SIZE = Object.freeze({ hour: HOUR, day: DAY, week: WEEK });

export function floorTo(at, unit) {
  const offset = unit === "week" ? MONDAY : 0;
  return Math.floor((at - offset) / SIZE[unit]) * SIZE[unit] + offset;
}

function ceilTo(at, unit) {
  return floorTo(at - 1, unit) + SIZE[unit];
}

export function iso(at) {
  return new Date(at).toISOString().replace(/\.000Z$/, "Z");
}

/**
 * The window that a range names, ending with the newest event there is.
 *
 * 24 h ends with its hour; days are whole UTC days and end with its day.
 */
export function presetWindow(range, oldest, newest) {
  const end = ceilTo(newest + 1, range === "24h" ? "hour" : "day");
  if (range === "24h") return { start: end - DAY, end };
  if (range === "7d") return { start: end - 7 * DAY, end };
  if (range === "30d") return { start: end - 30 * DAY, end };
  return { start: floorTo(oldest, "day"), end };
}

/** What the reader typed as an instant of UTC; null if it is none. */
export function parseInstant(text) {
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$/.test(text)) return null;
  const at = Date.parse(text.includes("T") ? `${text}Z` : `${text}T00:00Z`);
  return Number.isNaN(at) || at < FIRST_INSTANT ? null : at;
}

export function unitFor(bars, { start, end }) {
  const isFew = (unit, most) => (end - start) / SIZE[unit] <= most;
  if (bars === "auto") {
    if (isFew("hour", MOST_HOUR_BARS)) return "hour";
    return isFew("day", MOST_DAY_BARS) ? "day" : "week";
  }
  const coarser = { hour: ["hour", "day", "week"], day: ["day", "week"], week: ["week"] }[bars];
  return coarser.find((unit) => isFew(unit, MOST_BARS)) ?? "week";
}

/**
 * One bar for each hour, day or week of a window, those without events too.
 *
 * The one place that makes days and weeks of hours.
 *
 * `isPartial`: the window cuts the bar. `isOpen`: the bar is not over yet.
 */
export function barsOf(buckets, window, unit, { types = [], now = Infinity, shift = 0 } = {}) {
  const size = SIZE[unit];
  const first = floorTo(window.start, unit);
  const bars = [];
  for (let start = first; start < window.end; start += size) {
    const end = start + size;
    const isPartial = start < window.start || end > window.end;
    bars.push({ start, end, count: 0, counts: new Map(), isPartial, isOpen: start <= now && now < end });
  }
  if (!bars.length) return bars;
  const isChosen = types.length ? new Set(types) : null;
  for (const bucket of buckets) {
    const at = Date.parse(bucket.ts_start_of_hour) + shift;
    const place = Math.floor((Math.max(at, window.start) - first) / size);
    const bar = bars[Math.min(place, bars.length - 1)];
    if (!bucket.counts) {
      bar.count += bucket.count;
      continue;
    }
    for (const [type, count] of Object.entries(bucket.counts)) {
      if (isChosen && !isChosen.has(type)) continue;
      bar.count += count;
      bar.counts.set(type, (bar.counts.get(type) ?? 0) + count);
    }
  }
  return bars;
}

/** Every type of these buckets with its total, the greatest first. */
export function typesOf(buckets) {
  const totals = new Map();
  for (const { counts } of buckets) {
    for (const [type, count] of Object.entries(counts ?? {})) {
      totals.set(type, (totals.get(type) ?? 0) + count);
    }
  }
  return [...totals].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
}

/** The layers of a stack, from the bottom up: the greatest types, and all others together. */
export function layersOf(ranked, types) {
  const chosen = ranked.map(([type]) => type);
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

export function busiest(buckets, types) {
  const isChosen = types.length ? new Set(types) : null;
  let best = null;
  for (const bucket of buckets) {
    const count =
      isChosen && bucket.counts
        ? Object.entries(bucket.counts).reduce((sum, [type, n]) => sum + (isChosen.has(type) ? n : 0), 0)
        : bucket.count;
    if (count > 0 && count > (best?.count ?? 0)) best = { start: Date.parse(bucket.ts_start_of_hour), count };
  }
  return best;
}

/** Round whole steps from 0 to at least `most`, about `number` of them. */
export function valueTicks(most, number = 4) {
  const rough = Math.max(most, 1) / number;
  const power = 10 ** Math.max(0, Math.floor(Math.log10(rough)));
  const factors = power === 1 ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10];
  const step = factors.map((each) => each * power).find((each) => each >= rough);
  return Array.from({ length: Math.ceil(most / step || 1) + 1 }, (_, place) => place * step);
}

/** Instants for the time axis, at most `number`, at round hours, days, months or years. */
export function timeTicks(start, end, number) {
  for (const step of [HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY, WEEK, 2 * WEEK]) {
    if ((end - start) / step <= number) {
      const offset = step % WEEK === 0 ? MONDAY : 0;
      const ticks = [];
      for (let at = Math.ceil((start - offset) / step) * step + offset; at < end; at += step) ticks.push(at);
      return { ticks, step: step < DAY ? "hour" : "day" };
    }
  }
  const months = (end - start) / (30.4 * DAY);
  const step = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1200].find((each) => months / each <= number) ?? 6000;
  const date = new Date(start);
  const ticks = [];
  let month = Math.ceil((date.getUTCFullYear() * 12 + date.getUTCMonth()) / step) * step;
  for (; ; month += step) {
    const at = new Date(0);
    at.setUTCFullYear(Math.floor(month / 12), month % 12, 1);
    if (at.getTime() >= end) break;
    if (at.getTime() >= start) ticks.push(at.getTime());
  }
  return { ticks, step: step < 12 ? "month" : "year" };
}
