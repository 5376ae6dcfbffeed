// Bars as inline SVG: a path for each layer, so that thousands of bars are a few elements.

import { svg } from "./dom.js";
import { shortCount, span, tick, count, change } from "./format.js";
import { countIn, timeTicks, valueTicks } from "./series.js";

const EDGE = Object.freeze({ top: 16, right: 4, bottom: 30 });
const SLOTS_WITH_GAPS = 3;
/** In pixels: whatever is more than nothing can be seen. */
const LEAST_HEIGHT = 2;

/**
 * A chart in a container that is a slider to the keyboard and to screen readers.
 *
 * @param plot The focusable element, with role slider.
 * @param tip Where the tooltip is put.
 */
export function makeChart(plot, tip) {
  let drawn = null;
  let place = -1;

  function draw(view) {
    const width = Math.max(plot.clientWidth, 200);
    const height = width < 560 ? 250 : 340;
    const most = Math.max(...maxima(view.bars), ...maxima(view.previous ?? []), 0);
    const values = valueTicks(most, height < 300 ? 3 : 4);
    const left = 14 + 7.5 * Math.max(...values.map((value) => shortCount(value).length));
    const frame = { width, height, left, top: EDGE.top, right: width - EDGE.right, bottom: height - EDGE.bottom };
    const top = values.at(-1);
    // Each bar as wide as the others: months differ in length, and so do days where clocks are set.
    frame.slot = (frame.right - left) / view.bars.length;
    frame.x = (index) => left + index * frame.slot;
    frame.y = (value) => frame.bottom - (value / top) * (frame.bottom - frame.top);
    drawn = { view, frame };
    const picture = svg(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", focusable: "false" },
      hatches(view.layers),
      valueAxis(frame, values),
      timeAxis(frame, view),
      ...view.layers.flatMap((layer, index) => layerPaths(frame, view, index)),
      view.previous ? previousLine(frame, view) : null,
      svg("rect", { class: "cursor", y: frame.top, height: frame.bottom - frame.top, visibility: "hidden" }),
    );
    plot.replaceChildren(picture);
    plot.setAttribute("aria-label", `Events by ${view.unit}, ${view.zone}. Arrow keys go from bar to bar.`);
    plot.setAttribute("aria-valuemin", "1");
    plot.setAttribute("aria-valuemax", String(view.bars.length));
    if (place >= view.bars.length) place = -1;
    speak(place < 0 ? view.bars.length - 1 : place);
    if (place >= 0 && !tip.hidden) point(place);
  }

  /** Point at one bar: band, tooltip, and what a screen reader says. */
  function point(index) {
    if (!drawn) return;
    const { view, frame } = drawn;
    place = Math.min(Math.max(index, 0), view.bars.length - 1);
    const [x, end] = [frame.x(place), frame.x(place + 1)];
    const cursor = plot.querySelector(".cursor");
    cursor.setAttribute("x", x);
    cursor.setAttribute("width", Math.max(end - x, 1));
    cursor.setAttribute("visibility", "visible");
    speak(place);
    tip.replaceChildren(...tipLines(view, place));
    tip.hidden = false;
    const room = plot.clientWidth - tip.offsetWidth;
    const beside = (x + end) / 2 < plot.clientWidth / 2 ? end + 10 : x - tip.offsetWidth - 10;
    tip.style.left = `${Math.min(Math.max(beside, 0), Math.max(room, 0))}px`;
    tip.style.top = `${frame.top}px`;
  }

  function leave() {
    tip.hidden = true;
    plot.querySelector(".cursor")?.setAttribute("visibility", "hidden");
  }

  function speak(index) {
    const { view } = drawn;
    plot.setAttribute("aria-valuenow", String(index + 1));
    plot.setAttribute("aria-valuetext", spoken(view, index));
  }

  function at(event) {
    const { view, frame } = drawn;
    const share = (event.clientX - plot.getBoundingClientRect().left - frame.left) / (frame.right - frame.left);
    return Math.floor(share * view.bars.length);
  }

  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
  plot.addEventListener("keydown", (event) => {
    if (!drawn) return;
    const last = drawn.view.bars.length - 1;
    if (event.key in steps) point((place < 0 ? last : place) + (place < 0 ? 0 : steps[event.key]));
    else if (event.key === "Home") point(0);
    else if (event.key === "End") point(last);
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
  });
  plot.addEventListener("focus", () => plot.matches(":focus-visible") && drawn && point(place < 0 ? drawn.view.bars.length - 1 : place));
  plot.addEventListener("blur", leave);
  plot.addEventListener("pointermove", (event) => drawn && point(at(event)));
  plot.addEventListener("pointerdown", (event) => drawn && point(at(event)));
  plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
  // Only a change of width: the height is this chart's own choice.
  let known = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === known) return;
    known = contentRect.width;
    if (drawn && known) draw(drawn.view);
  }).observe(plot);

  return {
    draw,
    clear() {
      drawn = null;
      place = -1;
      leave();
      plot.replaceChildren();
    },
    picture: () => plot.querySelector("svg"),
  };
}

/** Not spread into one call of Math.max: there may be more than an argument list holds. */
function maxima(bars) {
  return [bars.reduce((most, bar) => Math.max(most, bar.count), 0)];
}

export function note(bar) {
  if (bar.isPartial) return "Partial: the range cuts it";
  return bar.isOpen ? "Still open: more may come" : "";
}

function spoken(view, index) {
  const bar = view.bars[index];
  const parts = [`${span(bar, view.unit)} ${view.zone}: ${count(bar.count)} ${bar.count === 1 ? "event" : "events"}`];
  if (view.layers.length > 1) {
    for (const layer of view.layers) {
      const value = countIn(bar, layer);
      if (value) parts.push(`${layer.name} ${count(value)}`);
    }
  }
  if (view.previous) parts.push(`before ${count(view.previous[index]?.count ?? 0)}`);
  if (note(bar)) parts.push(note(bar));
  return parts.join(", ");
}

function tipLines(view, index) {
  const bar = view.bars[index];
  const line = (className, ...texts) => {
    const element = document.createElement("p");
    element.className = className;
    for (const text of texts) {
      const part = document.createElement("span");
      if (text instanceof Node) part.append(text);
      else part.textContent = text;
      element.append(part);
    }
    return element;
  };
  const lines = [
    line("tip-time", `${span(bar, view.unit)} ${view.zone}`),
    line("tip-total", count(bar.count), bar.count === 1 ? "event" : "events"),
  ];
  if (view.layers.some((layer) => !layer.isTotal)) {
    for (const layer of [...view.layers].reverse()) {
      const value = countIn(bar, layer);
      if (!value) continue;
      const name = document.createElement("span");
      name.className = `key tone-${layer.tone}`;
      const row = line("tip-row", name, layer.name, count(value));
      lines.push(row);
    }
  }
  if (view.previous) {
    const before = view.previous[index]?.count ?? 0;
    lines.push(line("tip-row tip-before", "Period before", `${count(before)} (${change(bar.count, before)})`));
  }
  if (note(bar)) lines.push(line("tip-note", note(bar)));
  return lines;
}

function hatches(layers) {
  const pattern = ({ tone }) =>
    svg(
      "pattern",
      { id: `hatch-${tone}`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("rect", { class: `tone-${tone}`, width: 6, height: 6, "fill-opacity": 0.25 }),
      svg("rect", { class: `tone-${tone}`, width: 2.5, height: 6 }),
    );
  return svg("defs", {}, ...layers.map(pattern));
}

function valueAxis(frame, values) {
  return svg(
    "g",
    { class: "axis" },
    ...values.flatMap((value) => {
      const y = Math.round(frame.y(value)) + 0.5;
      return [
        svg("line", { class: value ? "grid" : "base", x1: frame.left, x2: frame.right, y1: y, y2: y }),
        svg("text", { x: frame.left - 10, y: y + 4, "text-anchor": "end" }, shortCount(value)),
      ];
    }),
  );
}

function timeAxis(frame, { bars, unit }) {
  const number = Math.max(3, Math.floor((frame.right - frame.left) / 84));
  const { places, step } = timeTicks(bars, unit, number);
  const texts = places.map((place) => {
    // A day is named under the middle of its bar, an hour at its start.
    const x = frame.x(place) + (unit === "hour" ? 0 : frame.slot / 2);
    // The numbers on the left leave room for half a name; on the right there is none.
    const anchor = frame.right - x < 22 ? "end" : "middle";
    return svg("text", { x, y: frame.bottom + 21, "text-anchor": anchor }, tick(bars[place].local.start, step));
  });
  return svg("g", { class: "axis" }, ...texts);
}

function layerPaths(frame, { bars, layers }, index) {
  const layer = layers[index];
  const { slot } = frame;
  const gap = slot >= SLOTS_WITH_GAPS ? Math.min(Math.max(slot * 0.22, 1), 14) : 0;
  const paths = { whole: [], hatched: [] };
  for (const [place, bar] of bars.entries()) {
    const value = layer.isTotal ? bar.count : countIn(bar, layer);
    if (!value) continue;
    let below = 0;
    for (const each of layers.slice(0, index)) below += countIn(bar, each);
    const isTop = below + value === bar.count;
    let [y, base] = [frame.y(below + value), frame.y(below)];
    if (frame.bottom - frame.y(bar.count) < LEAST_HEIGHT) {
      // One layer stands for them all.
      if (!isTop) continue;
      [y, base] = [frame.bottom - LEAST_HEIGHT, frame.bottom];
    }
    const x = frame.x(place) + gap / 2;
    const kind = bar.isPartial || bar.isOpen ? "hatched" : "whole";
    paths[kind].push(block(x, y, slot - gap, base - y, isTop));
  }
  return Object.entries(paths)
    .filter(([, blocks]) => blocks.length)
    .map(([kind, blocks]) =>
      svg("path", {
        d: blocks.join(""),
        ...(kind === "whole" ? { class: `tone-${layer.tone}` } : { class: "hatched", fill: `url(#hatch-${layer.tone})` }),
      }),
    );
}

function block(x, y, width, height, isTop) {
  const cut = (value) => Math.round(value * 100) / 100;
  const r = isTop && width >= 6 ? Math.min(3, height, width / 2) : 0;
  const [left, right, top, bottom] = [x, x + width, y, y + height].map(cut);
  if (!r) return `M${left} ${bottom}V${top}H${right}V${bottom}Z`;
  return `M${left} ${bottom}V${cut(y + r)}Q${left} ${top} ${cut(x + r)} ${top}H${cut(x + width - r)}Q${right} ${top} ${right} ${cut(y + r)}V${bottom}Z`;
}

function previousLine(frame, { bars, previous }) {
  const steps = bars.map((_, index) => {
    const y = Math.round(frame.y(previous[index]?.count ?? 0) * 100) / 100;
    const [x, end] = [frame.x(index), frame.x(index + 1)].map((each) => Math.round(each * 100) / 100);
    return `${index ? "L" : "M"}${x} ${y}H${end}`;
  });
  return svg("path", { class: "previous", d: steps.join("") });
}
