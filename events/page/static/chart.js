// The bar chart: inline SVG with one path per layer, so that thousands of bars are a few elements.

import { countIn, reasonsIn, timeTicks, valueTicks } from "./bars.js";
import { h, svg } from "./dom.js";
import { barTime, change, count, plural, shortCount, tick } from "./format.js";

const MARGIN = Object.freeze({ top: 16, right: 4, bottom: 30 });
/** Bars narrower than this, in pixels, are drawn without gaps. */
const MIN_SLOT_WITH_GAP = 3;
/** In pixels: a bar with any event is visible. */
const MIN_HEIGHT = 2;
/** In pixels: half the width of the triangle above a marked bar, and its height. */
const MARK_SIZE = 5;

/**
 * A chart in `plot`, which keyboards and screen readers operate as a slider over the bars.
 *
 * @param plot The focusable element with the role slider.
 * @param tip The element of the tooltip.
 */
export function makeChart(plot, tip) {
  let drawn = null;
  /** The index of the bar that the reader points at; -1 for none. */
  let pointed = -1;

  /** @param view `{unit, zone, bars, layers, previous, marks}`; `previous` are bars to compare with, or null. */
  function draw(view) {
    const width = Math.max(plot.clientWidth, 200);
    const height = width < 560 ? 250 : 340;
    const values = valueTicks(Math.max(maxCount(view.bars), maxCount(view.previous ?? [])), height < 300 ? 3 : 4);
    const left = 14 + 7.5 * Math.max(...values.map((value) => shortCount(value).length));
    const frame = { left, top: MARGIN.top, right: width - MARGIN.right, bottom: height - MARGIN.bottom };
    // All bars have the same width, although months, and days when clocks are moved, differ in length.
    frame.slot = (frame.right - left) / view.bars.length;
    frame.x = (index) => left + index * frame.slot;
    frame.y = (value) => frame.bottom - (value / values.at(-1)) * (frame.bottom - frame.top);
    drawn = { view, frame };
    const picture = svg(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", focusable: "false" },
      hatchPatterns(view.layers),
      valueAxis(frame, values),
      timeAxis(frame, view),
      ...view.layers.flatMap((_, index) => layerPaths(frame, view, index)),
      view.previous ? previousLine(frame, view) : null,
      markPath(frame, view),
      svg("rect", { class: "cursor", y: frame.top, height: frame.bottom - frame.top, visibility: "hidden" }),
    );
    plot.replaceChildren(picture);
    plot.setAttribute("aria-label", `Events per ${view.unit}, ${view.zone}. Use the arrow keys to move between bars.`);
    plot.setAttribute("aria-valuemin", "1");
    plot.setAttribute("aria-valuemax", String(view.bars.length));
    if (pointed >= view.bars.length) pointed = -1;
    announce(pointed < 0 ? view.bars.length - 1 : pointed);
    if (pointed >= 0 && !tip.hidden) point(pointed);
  }

  /** Highlight a bar, show its tooltip and announce it to screen readers. */
  function point(index) {
    if (!drawn) return;
    const { view, frame } = drawn;
    pointed = Math.min(Math.max(index, 0), view.bars.length - 1);
    const [x, end] = [frame.x(pointed), frame.x(pointed + 1)];
    const cursor = plot.querySelector(".cursor");
    cursor.setAttribute("x", x);
    cursor.setAttribute("width", Math.max(end - x, 1));
    cursor.setAttribute("visibility", "visible");
    announce(pointed);
    tip.replaceChildren(...tipLines(view, pointed));
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

  function announce(index) {
    plot.setAttribute("aria-valuenow", String(index + 1));
    plot.setAttribute("aria-valuetext", spoken(drawn.view, index));
  }

  function pointAt(event) {
    if (!drawn) return;
    const { frame } = drawn;
    point(Math.floor((event.clientX - plot.getBoundingClientRect().left - frame.left) / frame.slot));
  }

  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
  plot.addEventListener("keydown", (event) => {
    if (!drawn) return;
    const last = drawn.view.bars.length - 1;
    if (event.key in steps) point(pointed < 0 ? last : pointed + steps[event.key]);
    else if (event.key === "Home") point(0);
    else if (event.key === "End") point(last);
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
  });
  plot.addEventListener("focus", () => drawn && plot.matches(":focus-visible") && point(pointed < 0 ? drawn.view.bars.length - 1 : pointed));
  plot.addEventListener("blur", leave);
  plot.addEventListener("pointermove", pointAt);
  plot.addEventListener("pointerdown", pointAt);
  plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
  // Redraw only when the width changes: the chart itself decides the height.
  let knownWidth = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === knownWidth) return;
    knownWidth = contentRect.width;
    if (drawn && knownWidth) draw(drawn.view);
  }).observe(plot);

  return {
    draw,
    clear() {
      drawn = null;
      pointed = -1;
      leave();
      plot.replaceChildren();
    },
    picture: () => plot.querySelector("svg"),
  };
}

/** Not `Math.max(...counts)`: there may be more bars than a call takes arguments. */
function maxCount(bars) {
  return bars.reduce((max, bar) => Math.max(max, bar.count), 0);
}

/** Why a bar is hatched; empty if it is not. */
export function incompleteText(bar) {
  if (bar.isPartial) return "Partial: cut off by the range";
  return bar.isOpen ? "In progress: more events may arrive" : "";
}

function spoken(view, index) {
  const bar = view.bars[index];
  const parts = [`${barTime(bar, view.unit)} ${view.zone}: ${plural(bar.count, "event")}`];
  if (view.layers.length > 1) {
    for (const layer of view.layers) {
      const value = countIn(bar, layer);
      if (value) parts.push(`${layer.name} ${count(value)}`);
    }
  }
  if (view.previous) parts.push(`previous period ${count(view.previous[index]?.count ?? 0)}`);
  if (incompleteText(bar)) parts.push(incompleteText(bar));
  parts.push(...reasonsIn(bar, view.marks).map((reason) => `marked: ${reason}`));
  return parts.join(", ");
}

function tipLines(view, index) {
  const bar = view.bars[index];
  const line = (className, ...parts) => h("p", { class: className }, ...parts.map((part) => h("span", {}, part)));
  const lines = [
    line("tip-time", `${barTime(bar, view.unit)} ${view.zone}`),
    line("tip-total", count(bar.count), bar.count === 1 ? "event" : "events"),
  ];
  for (const layer of view.layers.toReversed()) {
    const value = layer.isTotal ? 0 : countIn(bar, layer);
    if (value) lines.push(line("tip-row", h("span", { class: `key tone-${layer.tone}` }), layer.name, count(value)));
  }
  if (view.previous) {
    const before = view.previous[index]?.count ?? 0;
    lines.push(line("tip-row tip-before", "Previous period", `${count(before)} (${change(bar.count, before)})`));
  }
  if (incompleteText(bar)) lines.push(line("tip-note", incompleteText(bar)));
  lines.push(...reasonsIn(bar, view.marks).map((reason) => line("tip-note", `Marked: ${reason}`)));
  return lines;
}

function hatchPatterns(layers) {
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
  const { indexes, step } = timeTicks(bars, unit, number);
  const texts = indexes.map((index) => {
    // The label of an hour marks its start; other labels name the whole bar.
    const x = frame.x(index) + (unit === "hour" ? 0 : frame.slot / 2);
    // Half a label fits into the margin on the left, but not into the one on the right.
    const anchor = frame.right - x < 22 ? "end" : "middle";
    return svg("text", { x, y: frame.bottom + 21, "text-anchor": anchor }, tick(bars[index].local.start, step));
  });
  return svg("g", { class: "axis" }, ...texts);
}

/** The bars of one layer: a path of the complete ones and a hatched path of the others. */
function layerPaths(frame, { bars, layers }, layerIndex) {
  const layer = layers[layerIndex];
  const { slot } = frame;
  const gap = slot >= MIN_SLOT_WITH_GAP ? Math.min(Math.max(slot * 0.22, 1), 14) : 0;
  const blocks = { complete: [], hatched: [] };
  for (const [index, bar] of bars.entries()) {
    const value = countIn(bar, layer);
    if (!value) continue;
    let below = 0;
    for (const lower of layers.slice(0, layerIndex)) below += countIn(bar, lower);
    const isTop = below + value === bar.count;
    let [y, base] = [frame.y(below + value), frame.y(below)];
    if (frame.bottom - frame.y(bar.count) < MIN_HEIGHT) {
      // Too low to be divided: the top layer stands for the whole bar.
      if (!isTop) continue;
      [y, base] = [frame.bottom - MIN_HEIGHT, frame.bottom];
    }
    const block = blockPath(frame.x(index) + gap / 2, y, slot - gap, base - y, isTop);
    blocks[bar.isPartial || bar.isOpen ? "hatched" : "complete"].push(block);
  }
  const looks = { complete: { class: `tone-${layer.tone}` }, hatched: { class: "hatched", fill: `url(#hatch-${layer.tone})` } };
  return Object.keys(looks)
    .filter((name) => blocks[name].length)
    .map((name) => svg("path", { d: blocks[name].join(""), ...looks[name] }));
}

const round = (value) => Math.round(value * 100) / 100;

function blockPath(x, y, width, height, isTop) {
  const r = isTop && width >= 6 ? Math.min(3, height, width / 2) : 0;
  const [left, right, top, bottom] = [x, x + width, y, y + height].map(round);
  if (!r) return `M${left} ${bottom}V${top}H${right}V${bottom}Z`;
  return `M${left} ${bottom}V${round(y + r)}Q${left} ${top} ${round(x + r)} ${top}H${round(x + width - r)}Q${right} ${top} ${right} ${round(y + r)}V${bottom}Z`;
}

/** A triangle above each marked bar. */
function markPath(frame, { bars, marks }) {
  const marked = marks.length ? [...bars.entries()].filter(([, bar]) => reasonsIn(bar, marks).length) : [];
  const triangles = marked.map(([index, bar]) => {
    const [x, y] = [round(frame.x(index) + frame.slot / 2), round(frame.y(bar.count) - 4)];
    return `M${x} ${y}l${-MARK_SIZE} ${-1.6 * MARK_SIZE}h${2 * MARK_SIZE}Z`;
  });
  return triangles.length ? svg("path", { class: "mark", d: triangles.join("") }) : null;
}

/** The bars to compare with, as one stepped line. */
function previousLine(frame, { bars, previous }) {
  const steps = bars.map((_, index) => {
    const y = round(frame.y(previous[index]?.count ?? 0));
    return `${index ? "L" : "M"}${round(frame.x(index))} ${y}H${round(frame.x(index + 1))}`;
  });
  return svg("path", { class: "previous", d: steps.join("") });
}
