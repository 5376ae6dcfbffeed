// What surrounds the chart: the numbers above it, the list of event types, and the note below it.

import { busiest, ranked, totalsByType } from "./bars.js";
import { button, byId, h } from "./dom.js";
import * as format from "./format.js";

const MAX_TYPES = 12;

/** `[type, total]` pairs of all types of the range, largest first; null if they are not known yet. */
export function typesOf({ summary, bars, types, isGrouped }) {
  if (summary) return ranked(Object.entries(summary.by_type));
  return isGrouped && !types.length ? ranked(totalsByType(bars)) : null;
}

export function drawStats({ unit, zone, total, bars, types, previous, summary, isFilled }) {
  byId("stat-total").textContent = format.count(total);
  byId("stat-change").textContent = previous ? changeText(total, previous.total) : typesText(types);
  const best = busiestOf({ unit, zone, bars, types, summary });
  byId("stat-busiest-name").textContent = `Busiest ${best.unit}`;
  byId("stat-busiest").textContent = best.count ? format.count(best.count) : "–";
  byId("stat-busiest-when").textContent = best.time;
  byId("stat-mean-name").textContent = `Average per ${unit}`;
  byId("stat-mean").textContent = format.average(total / Math.max(bars.length, 1));
  byId("stat-mean-more").textContent = `over ${format.plural(bars.length, unit)}${isFilled ? "" : " with events"}`;
}

/** The busiest hour if it is known for the chosen types, otherwise the busiest bar. */
function busiestOf({ unit, zone, bars, types, summary }) {
  if (unit !== "hour" && !types.length) {
    const hour = summary?.busiest_hour;
    return { unit: "hour", count: hour?.count, time: hour ? format.hourText(Date.parse(hour.ts_start_of_hour)) : "" };
  }
  const bar = busiest(bars);
  const time = unit === "hour" ? ({ local }) => format.hourText(local.start, zone) : (other) => format.barTime(other, unit);
  return { unit, count: bar?.count, time: bar ? time(bar) : "" };
}

function changeText(now, before) {
  return before ? `${format.change(now, before)} from ${format.count(before)} in the previous period` : "none in the previous period";
}

function typesText(types) {
  return types.length ? `of ${format.plural(types.length, "event type")}` : "of all event types";
}

/** What the bars and the line of the chart mean; `interval` is the reader's choice. */
export function chartNote({ unit, zone, bars, previous, isFilled, isPreviousMissing }, interval) {
  const notes = [`Events per ${unit} (${zone}).`];
  if (interval !== "auto" && interval !== unit) notes.push(`This range has too many ${interval}s to draw, so it is shown by ${unit}.`);
  if (!isFilled) notes.push(`Only ${unit}s with events are shown.`);
  if (bars.some((bar) => bar.isPartial)) notes.push("Hatched bars are incomplete: cut off by the range, or still in progress.");
  else if (bars.some((bar) => bar.isOpen)) notes.push("Hatched bars are still in progress.");
  if (isPreviousMissing) notes.push("There is no previous period to compare with.");
  if (previous) notes.push(`Line: previous period, ${format.rangeText(previous.range)}.`);
  return notes.join(" ");
}

/**
 * The buttons that choose event types.
 *
 * @param toggle Called with the type whose button was pressed.
 * @param chooseAll Called to show all types again.
 */
export function makeTypeList({ toggle, chooseAll }) {
  let isExpanded = false;

  /** @param known What `typesOf` returned. `types` are the chosen ones, `layers` those of the chart. */
  function draw(known, types, layers) {
    const names = new Set(known.map(([type]) => type));
    const all = [...known, ...types.filter((type) => !names.has(type)).map((type) => [type, 0])];
    const isCut = all.length > MAX_TYPES && !isExpanded;
    const shown = isCut ? all.filter(([type], index) => index < MAX_TYPES || types.includes(type)) : all;
    const toneOf = new Map(layers.flatMap((layer) => layer.types.map((type) => [type, layer.tone])));
    const focused = document.activeElement?.dataset?.type;
    const chips = shown.map(([type, total]) => chip(type, total, toneOf.get(type)));
    const expand = () => {
      isExpanded = true;
      draw(known, types, layers);
    };
    if (isCut) chips.push(button(format.plural(all.length - shown.length, "more type"), expand, "quiet"));
    if (types.length) chips.push(button("All types", chooseAll, "quiet"));
    byId("types").replaceChildren(...chips);
    mark(types);
    if (focused !== undefined) chips.find((element) => element.dataset.type === focused)?.focus();
  }

  /** Show at once which types are chosen; their counts follow when the query is done. */
  function mark(types) {
    for (const element of byId("types").querySelectorAll("[data-type]")) {
      element.setAttribute("aria-pressed", String(types.includes(element.dataset.type)));
    }
  }

  function chip(type, total, tone) {
    return h(
      "button",
      { type: "button", class: "chip", "data-type": type, onclick: () => toggle(type) },
      tone === undefined ? null : h("span", { class: `key tone-${tone}`, "aria-hidden": "true" }),
      h("span", { class: "name" }, type),
      h("span", { class: "total" }, format.count(total)),
    );
  }

  return { draw, mark, collapse: () => (isExpanded = false) };
}
