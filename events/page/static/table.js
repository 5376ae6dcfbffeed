// The table of the bars' counts. It shows 200 rows, and more on request.

import { countIn } from "./bars.js";
import { incompleteText } from "./chart.js";
import { byId, h } from "./dom.js";
import { count, plural, rowTime } from "./format.js";

const ROWS_PER_STEP = 200;
const HEADINGS = { hour: "Hour", day: "Day", week: "Week of", month: "Month" };
/** Identifies the bars in the table, and how many rows are shown. */
let drawn = { name: "", rows: 0 };

/** Draw the table. If it shows the same range again, as live updates do, keep the rows and the scroll position. */
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
      view.previous ? heading("Previous", "number") : null,
    ),
  );
  const body = byId("table-body");
  const name = `${view.unit} ${view.zone} ${view.bars[0]?.start}`;
  const isSame = name === drawn.name;
  const rowsBefore = isSame ? drawn.rows : 0;
  drawn = { name, rows: 0 };
  body.replaceChildren();
  const more = byId("table-more");
  const add = (number) => {
    const rows = view.bars.slice(drawn.rows, drawn.rows + number).map((bar, index) => row(view, layers, bar, drawn.rows + index));
    body.append(...rows);
    drawn.rows += rows.length;
    more.hidden = drawn.rows >= view.bars.length;
    more.textContent = `Show more (${plural(view.bars.length - drawn.rows, "row")} left)`;
  };
  more.onclick = () => add(ROWS_PER_STEP);
  add(Math.max(rowsBefore, ROWS_PER_STEP));
  if (!isSame) body.closest(".scroll").scrollTop = 0;
}

function row(view, layers, bar, index) {
  const cell = (value) => h("td", { class: value ? "number" : "number none" }, count(value));
  const title = incompleteText(bar);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, `${rowTime(bar, view.unit)} `, title ? h("span", { class: "mark", title }, bar.isPartial ? "partial" : "in progress") : null),
    ...layers.map((layer) => cell(countIn(bar, layer))),
    cell(bar.count),
    view.previous ? cell(view.previous[index]?.count ?? 0) : null,
  );
}
