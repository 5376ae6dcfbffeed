// What stands around the chart: the numbers, the types to choose from, and the notes.

import { byId, h } from "./dom.js";
import * as format from "./format.js";
import { busiest, ranked, typesOf } from "./series.js";

const TYPES_SHOWN = 12;

/**
 * Every type with its total, the greatest first; null while only chosen types, or none, are known.
 */
export function knownTypes({ summary, bars, types, isGrouped }) {
  if (summary) return ranked(Object.entries(summary.by_type));
  return isGrouped && !types.length ? ranked(typesOf(bars)) : null;
}

export function drawStats({ unit, total, bars, types, previous, summary, isFilled }) {
  byId("stat-total").textContent = format.count(total);
  byId("stat-change").textContent = previous ? changeText(total, previous.total) : scopeText(types);
  const best = busiestOf({ unit, bars, types, summary });
  byId("stat-busiest-name").textContent = `Busiest ${best.unit}`;
  byId("stat-busiest").textContent = best.count ? format.count(best.count) : "–";
  byId("stat-busiest-when").textContent = best.when;
  byId("stat-mean-name").textContent = `Average ${unit}`;
  byId("stat-mean").textContent = format.average(total / Math.max(bars.length, 1));
  // Where only bars with events are drawn, the others are in no average.
  byId("stat-mean-more").textContent = `over ${format.plural(bars.length, unit)}${isFilled ? "" : " with events"}`;
}

/** The busiest hour, if it is known of these types; otherwise the busiest bar. */
function busiestOf({ unit, bars, types, summary }) {
  if (unit !== "hour" && !types.length) {
    const hour = summary?.busiest_hour;
    return { unit: "hour", count: hour?.count, when: hour ? `${format.hourSpan(Date.parse(hour.ts_start_of_hour))} UTC` : "" };
  }
  const bar = busiest(bars);
  const when = unit === "hour" ? (at) => `${format.hourSpan(at.start)} UTC` : (at) => format.span(at, unit);
  return { unit, count: bar?.count, when: bar ? when(bar) : "" };
}

function changeText(now, before) {
  const change = format.change(now, before);
  return before ? `${change}, before ${format.count(before)}` : change;
}

function scopeText(types) {
  return types.length ? `of ${format.plural(types.length, "event type")}` : "of all types";
}

/** What the chart's bars and lines are; `zone` is that which the reader chose. */
export function noteOf({ unit, zone, bars, previous, isFilled, isWithoutBefore }, chosen) {
  const notes = [`Events by ${unit}, ${unit === "hour" ? "UTC" : zone}.`];
  if (unit === "hour" && zone !== "UTC") notes[0] = `Events by hour of UTC: only days, weeks and months are those of ${zone}.`;
  if (chosen !== "auto" && chosen !== unit) notes.push(`This range has too many ${chosen}s to draw.`);
  if (!isFilled) notes.push(`Only ${unit}s with events are drawn.`);
  if (bars.some((bar) => bar.isPartial)) notes.push("Hatched: cut by the range, or not over yet.");
  else if (bars.some((bar) => bar.isOpen)) notes.push("Hatched: not over yet.");
  if (isWithoutBefore) notes.push("There is no such period before.");
  if (previous) notes.push(`Line: the period before, ${format.windowText(previous.window)}.`);
  return notes.join(" ");
}

/**
 * The list of types.
 *
 * @param toggle Called with a type that is to be counted, or no longer.
 * @param chooseAll Called where none is to be left out.
 */
export function makeTypeList({ toggle, chooseAll }) {
  let areAllShown = false;

  function draw(known, types, layers) {
    const names = new Set(known.map(([type]) => type));
    const all = [...known, ...types.filter((type) => !names.has(type)).map((type) => [type, 0])];
    const isOver = all.length > TYPES_SHOWN && !areAllShown;
    const shown = isOver ? all.filter(([type], place) => place < TYPES_SHOWN || types.includes(type)) : all;
    const toneOf = new Map(layers.flatMap((layer) => (layer.isTotal ? [] : layer.types.map((type) => [type, layer.tone]))));
    const focused = document.activeElement?.dataset?.type;
    const chips = shown.map(([type, total]) => chip(type, total, toneOf.get(type)));
    const showAll = () => ((areAllShown = true), draw(known, types, layers));
    if (isOver) chips.push(quiet(format.plural(all.length - shown.length, "more type"), showAll));
    if (types.length) chips.push(quiet("All types", chooseAll));
    byId("types").replaceChildren(...chips);
    mark(types);
    if (focused !== undefined) chips.find((each) => each.dataset.type === focused)?.focus();
  }

  /** Which are chosen shows at once; what is counted of them follows. */
  function mark(types) {
    for (const each of byId("types").querySelectorAll("[data-type]")) each.setAttribute("aria-pressed", String(types.includes(each.dataset.type)));
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

  return { draw, mark, forget: () => (areAllShown = false) };
}

function quiet(text, onclick) {
  return h("button", { type: "button", class: "quiet", onclick }, text);
}
