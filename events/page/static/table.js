// The numbers of the chart, row by row; more rows come when they are asked for.

import { byId, h } from "./dom.js";
import { count, rowTime, plural } from "./format.js";
import { note } from "./chart.js";
import { countIn } from "./series.js";

const ROWS_AT_ONCE = 200;
/** What the rows there are of, and how many there are. */
let drawn = { name: "", shown: 0 };
const HEADINGS = { hour: "Hour from", day: "Day", week: "Week from", month: "Month" };

/** Where it is drawn again, as when it is live, the rows that the reader asked for stay, at their place. */
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
  const name = `${view.unit} ${view.zone} ${view.bars[0]?.start}`;
  const isSame = name === drawn.name;
  const most = isSame ? Math.max(drawn.shown, ROWS_AT_ONCE) : ROWS_AT_ONCE;
  drawn = { name, shown: 0 };
  body.replaceChildren();
  const more = byId("table-more");
  const add = (number) => {
    const { shown } = drawn;
    const rows = view.bars.slice(shown, shown + number).map((bar, place) => row(view, layers, bar, shown + place));
    body.append(...rows);
    drawn.shown += rows.length;
    more.hidden = drawn.shown >= view.bars.length;
    more.textContent = `Show more (${plural(view.bars.length - drawn.shown, "row")} left)`;
  };
  more.onclick = () => add(ROWS_AT_ONCE);
  add(most);
  if (!isSame) body.closest(".scroll").scrollTop = 0;
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
