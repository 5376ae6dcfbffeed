// The result of a view: heading, numbers, chart, event types and table.

import { TOTAL, layersOf, ranked, totalsByType } from "./bars.js";
import { makeChart } from "./chart.js";
import { byId, h, show } from "./dom.js";
import * as format from "./format.js";
import { showResult } from "./panels.js";
import { isLive } from "./queries.js";
import { DAY, HOUR, LAST_INSTANT, iso } from "./ranges.js";
import { chartNote, drawStats, makeTypeList, typesOf } from "./stats.js";
import { drawTable } from "./table.js";
import { toLocal } from "./zones.js";

/** How many days the link to later events shows. */
const LATER_DAYS = 30;

/** @param go Called with a change of the state. `getTypes` returns the chosen types. */
export function makeResult({ go, getTypes }) {
  const chart = makeChart(byId("plot"), byId("tip"));
  const typeList = makeTypeList({
    toggle(type) {
      const types = getTypes();
      go({ types: types.includes(type) ? types.filter((other) => other !== type) : [...types, type] });
    },
    chooseAll: () => go({ types: [] }),
  });
  /** What the chart shows; null if nothing is drawn. */
  let view = null;

  /** @param data What `queryChart` and `queryDetails` returned. */
  function draw(data, state) {
    const { unit, bars, previous, types } = data;
    const all = typesOf(data) ?? ranked(totalsByType(bars));
    const layers = state.view === "stacked" ? layersOf(all, types) : [TOTAL];
    view = { unit, zone: data.zone, bars, layers, previous: previous?.bars ?? null, marks: state.marks };
    showResult();
    byId("result-title").textContent = byId("result-title").title = state.customer;
    byId("result-range").textContent = `${format.rangeText(data.range)}, ${data.zone}`;
    show(byId("empty"), data.total === 0);
    drawLater(data, state);
    chart.draw(view);
    byId("chart-note").textContent = chartNote(data, state.bars);
    drawMarks(state.marks, data.range);
    drawTable(view);
    drawDetails(data);
  }

  /** Draw only what the details of `data` change. */
  function drawDetails(data) {
    drawFreshness(data);
    drawStats(data);
    const known = typesOf(data);
    if (known) typeList.draw(known, data.types, view.layers);
    // If the range has events of other types only, its newest event does not help.
    show(byId("to-newest"), data.summary ? data.summary.total === 0 : !data.types.length);
  }

  /** @param problem Why the data may be out of date; empty if it is not. */
  function drawFreshness(data, problem = "") {
    const element = byId("freshness");
    const updated = data.lastIngestedAt ? `last updated ${format.exact(Date.parse(data.lastIngestedAt))}` : "no updates in this range";
    element.dataset.state = problem ? "problem" : isLive(data) ? "live" : "still";
    element.textContent = problem || (isLive(data) ? `Live, ${updated}` : format.capitalized(updated));
  }

  /** Say that there are events after the range if it ends before them by itself. */
  function drawLater({ extent, range }, state) {
    const isLater = state.range !== "own" && extent?.latest >= range.end;
    show(byId("later"), isLater);
    if (!isLater) return;
    byId("later-time").textContent = format.exact(extent.latest);
    const fieldValue = (at) => iso(toLocal(at, range.zone)).slice(0, 16);
    const end = Math.min(extent.latest + HOUR, LAST_INSTANT);
    const start = Math.max(range.end, end - LATER_DAYS * DAY);
    byId("to-later").onclick = () => go({ range: "own", start: fieldValue(start), end: fieldValue(end) });
  }

  /** List the marks of the range, so that everyone can read them without a pointer. */
  function drawMarks(marks, { start, end }) {
    const shown = marks.filter(({ at }) => start <= at && at < end);
    byId("marks").replaceChildren(...shown.map(({ at, reason }) => h("li", {}, `${format.exact(at)}: ${reason}`)));
    show(byId("marks"), shown.length > 0);
  }

  function clear() {
    view = null;
    chart.clear();
    typeList.collapse();
  }

  return {
    draw,
    drawDetails,
    drawFreshness,
    clear,
    markTypes: typeList.mark,
    isShown: () => view !== null,
    layers: () => view.layers,
    picture: chart.picture,
  };
}
