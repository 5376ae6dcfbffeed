// The numbers of the chart, row by row; more rows come when they are asked for.

import { byId, h } from "./dom.js";
import { count, rowTime, plural } from "./format.js";
import { note } from "./chart.js";
import { countIn } from "./series.js";

const ROWS_AT_ONCE = 200;
const HEADINGS = { hour: "Hour from", day: "Day", week: "Week from", month: "Month" };

export function drawTable(view) {
  const layers = view.layers.filter((layer) => !layer.isTotal);
  const heading = (text, className) => h("th", { scope: "col", class: className }, text);
  byId("table-head").replaceChildren(
    h(
      "tr",
      {},
      heading(`${HEADINGS[view.unit]} (${view.zone})`),
      ...layers.map((layer) => heading(layer.name, "number")),
      heading("Events", "number"),
      view.previous ? heading("Before", "number") : null,
    ),
  );
  const body = byId("table-body");
  body.replaceChildren();
  let shown = 0;
  const more = byId("table-more");
  const add = () => {
    const rows = view.bars.slice(shown, shown + ROWS_AT_ONCE).map((bar, place) => row(view, layers, bar, shown + place));
    body.append(...rows);
    shown += rows.length;
    more.hidden = shown >= view.bars.length;
    more.textContent = `Show more (${plural(view.bars.length - shown, "row")} left)`;
  };
  more.onclick = add;
  add();
}

function row(view, layers, bar, place) {
  const cell = (value) => h("td", { class: value ? "number" : "number none" }, count(value));
  const mark = note(bar);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, `${rowTime(bar, view.unit)} `, mark ? h("span", { class: "mark", title: mark }, bar.isPartial ? "partial" : "open") : null),
    ...layers.map((layer) => cell(countIn(bar, layer))),
    cell(bar.count),
    view.previous ? cell(view.previous[place]?.count ?? 0) : null,
  );
}
