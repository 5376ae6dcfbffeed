// The landing view: the busiest customers of the last 30 days that have events, and the total of all.

import { getAllCustomerBuckets } from "./api.js";
import { button, byId, h, show, svg } from "./dom.js";
import * as format from "./format.js";
import { DAY, FIRST_INSTANT, LAST_INSTANT, iso, makeRange } from "./ranges.js";

const DAYS = 30;
const MAX_TILES = 8;
const CHART_HEIGHT = 36;

/**
 * Query the last 30 days, up to now, in which any customer has events.
 *
 * @returns Null if no customer has events that count. Otherwise `range`, and of all customers `total`
 *   and `counts` (by day), `number` and `isComplete` (all customers are included); `tiles` are the
 *   busiest customers, `later` the IDs of those with events in later months than this.
 */
export async function queryOverview(signal) {
  const now = Date.now();
  const months = await getAllCustomerBuckets({ start: iso(FIRST_INSTANT), end: iso(LAST_INSTANT), window: "month" }, signal);
  const starts = new Set(months.customers.flatMap(({ buckets }) => buckets.map(startOf)));
  let [days, newest] = [null, null];
  // The events of this month may all be later than now: then those of the month before count.
  for (const month of [...starts].filter((start) => start <= now).sort((a, b) => b - a).slice(0, 2)) {
    const around = { start: iso(Math.max(month - DAYS * DAY, FIRST_INSTANT)), end: iso(Math.min(now, month + 31 * DAY)) };
    days = await getAllCustomerBuckets({ ...around, window: "day" }, signal);
    newest = newestStart(days.customers);
    if (newest !== null) break;
  }
  if (newest === null) return null;
  const start = newest - (DAYS - 1) * DAY;
  const all = Array(DAYS).fill(0);
  const tiles = days.customers.map(({ id, buckets }) => {
    const counts = Array(DAYS).fill(0);
    for (const bucket of buckets) {
      const index = (startOf(bucket) - start) / DAY;
      if (index < 0) continue;
      counts[index] += bucket.count;
      all[index] += bucket.count;
    }
    return { id, counts, total: sum(counts) };
  });
  const active = tiles.filter(({ total }) => total > 0).sort((a, b) => b.total - a.total);
  return {
    range: makeRange(start, newest + DAY, "UTC"),
    total: sum(all),
    counts: all,
    number: active.length,
    tiles: active.slice(0, MAX_TILES),
    later: months.customers.filter(({ buckets }) => buckets.length && startOf(buckets.at(-1)) > now).map(({ id }) => id),
    isComplete: months.isComplete && days.isComplete,
  };
}

/** @param choose Called with the id of the customer whose tile was pressed. */
export function drawOverview({ range, total, counts, number, tiles, later, isComplete }, choose) {
  byId("overview-range").textContent = `${format.rangeText(range)}, UTC`;
  byId("overview-total").textContent = format.count(total);
  byId("overview-number").textContent = `of ${format.plural(number, "customer")}${isComplete ? "" : " (the first 1,000 customers only)"}`;
  byId("overview-chart").replaceChildren(smallChart(counts));
  byId("overview-customers").replaceChildren(
    ...tiles.map((tile) =>
      h(
        "li",
        {},
        h(
          "button",
          { type: "button", class: "tile", onclick: () => choose(tile.id) },
          h("span", { class: "name" }, tile.id),
          h("span", { class: "total" }, format.count(tile.total)),
          smallChart(tile.counts),
        ),
      ),
    ),
  );
  const chips = later.slice(0, MAX_TILES).map((id) => button(id, () => choose(id), "chip"));
  byId("overview-later").replaceChildren(`${format.plural(later.length, "customer has", "customers have")} later events: `, ...chips);
  show(byId("overview-later"), later.length > 0);
  show(byId("overview"), true);
}

function smallChart(counts) {
  const most = Math.max(...counts, 1);
  const bars = counts.map((count, index) => {
    const height = count ? Math.max(1, (count / most) * CHART_HEIGHT) : 0;
    return svg("rect", { x: index * 4, y: CHART_HEIGHT - height, width: 3, height, class: "tone-0" });
  });
  const viewBox = `0 0 ${counts.length * 4 - 1} ${CHART_HEIGHT}`;
  return svg("svg", { class: "small-chart", viewBox, preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars);
}

function newestStart(customers) {
  const starts = customers.flatMap(({ buckets }) => buckets.slice(-1).map(startOf));
  return starts.length ? starts.reduce((a, b) => Math.max(a, b)) : null;
}

const startOf = ({ start }) => Date.parse(`${start.slice(0, 19)}Z`);
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
