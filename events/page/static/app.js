// The page: what is asked, what is known of it, and which of its faces is shown.

import { ApiError, getCustomers, key } from "./api.js";
import { makeChart } from "./chart.js";
import { makeCustomerField } from "./customers.js";
import { byId, h, show } from "./dom.js";
import { button, hear, sentence, showLoading, showPanel, showResult, showSettled } from "./faces.js";
import { drawStats, knownTypes, makeTypeList, noteOf } from "./figures.js";
import * as format from "./format.js";
import { BadDates, loadChart, loadRest } from "./load.js";
import { iso, isoOf, layersOf, ranked, typesOf } from "./series.js";
import { changed, readState, writeState } from "./state.js";
import { drawTable } from "./table.js";
import { makeTakeaway } from "./takeaway.js";
import { makeUpload } from "./uploadview.js";
import { makeZoneField } from "./zonefield.js";

const LIVE_MILLISECONDS = 5_000;
/** A question that takes long is asked less often. */
const REST_FOR_WORK = 10;

const chart = makeChart(byId("plot"), byId("tip"));
let state = readState(location.search);
/** The state as it was when the answers now awaited, or had, were asked for. */
let askedState = state;
let data = null;
let view = null;
let asking = null;
let liveTimer = null;
let onKey = [];

const field = makeCustomerField({
  input: byId("customer"),
  list: byId("customers"),
  choose: (customer) => go({ customer, types: [] }),
});
const zoneField = makeZoneField({ choose: (timezone) => go({ timezone }) });
const typeList = makeTypeList({
  toggle: (type) => {
    const { types } = state;
    go({ types: types.includes(type) ? types.filter((each) => each !== type) : [...types, type] });
  },
  chooseAll: () => go({ types: [] }),
});
makeUpload({
  needKey,
  onDone: () => refresh({ isQuiet: data !== null }),
  choose: (customer) => {
    go({ customer, types: [], range: state.range === "own" ? "30d" : state.range });
    window.scrollTo({ top: 0 });
  },
});

makeTakeaway({
  shown: () => ({
    customer: state.customer,
    chart: data,
    layers: view.layers,
    asked: { unit: data.unit, zone: data.zone, types: data.types, isGrouped: state.view === "stacked" },
  }),
  picture: chart.picture,
});

// --- what is asked --------------------------------------------------------------------------------

function go(change) {
  const before = state;
  state = changed(state, change);
  const address = location.pathname + writeState(state);
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  follow(before);
}

function follow(before) {
  drawControls();
  const isOther = ["customer", "range", "start", "end", "timezone", "compare", "types", "bars"].some(
    (name) => String(state[name]) !== String(askedState[name]),
  );
  // What was counted by type is known in total too.
  if (isOther || !data || (state.view === "stacked" && askedState.view !== "stacked")) {
    if (state.customer !== before.customer) forget();
    const isSameRange = state.customer === before.customer && state.range === before.range;
    refresh({ edges: isSameRange && data?.bars ? data.edges : null });
  } else draw();
}

function forget() {
  data = null;
  view = null;
  typeList.forget();
  chart.clear();
}

function drawControls() {
  field.draw(state.customer);
  for (const name of ["range", "view"]) {
    for (const input of document.getElementsByName(name)) input.checked = input.value === state[name];
  }
  byId("bars").value = state.bars;
  typeList.mark(state.types);
  zoneField.draw(state.timezone);
  byId("start-label").textContent = `From, ${state.timezone}`;
  byId("end-label").textContent = `To, ${state.timezone} (not included)`;
  byId("compare").checked = state.compare;
  show(byId("dates"), state.range === "own");
  for (const name of ["start", "end"]) byId(name).value = state[name];
  show(byId("forget-key"), key.get() !== "");
  document.title = state.customer ? `${state.customer} · Usage events` : "Usage events";
}

// --- what is known --------------------------------------------------------------------------------

/**
 * Ask and draw: first the chart, then what stands around it.
 *
 * @param edges Those of the customer, where they need not be asked for again.
 */
async function refresh({ isQuiet = false, edges = null } = {}) {
  clearTimeout(liveTimer);
  asking?.abort();
  const own = (asking = new AbortController());
  const begin = performance.now();
  askedState = state;
  let isThere = isQuiet;
  let isWorthAnotherLook = false;
  try {
    if (!isQuiet) showLoading(view !== null);
    if (!state.customer) {
      await offerCustomers(own.signal);
      return;
    }
    const found = await loadChart(state, edges, own.signal);
    if (own.signal.aborted) return;
    show(byId("dates-error"), false);
    if (isQuiet && data?.isWhole && data.asked === askedState && fingerprint(found) === fingerprint(data)) drawFreshness();
    else {
      // Of a window that is the same: its list of types does not depend on those chosen.
      const isSameWindow = data?.window && found.window && isoText(found) === isoText(data);
      data = { ...found, asked: askedState, summary: isSameWindow ? data.summary : null, isWhole: !found.bars };
      draw();
      if (!isQuiet && view) hear(`${state.customer}: ${format.plural(data.total, "event")}, ${byId("result-window").textContent}`);
      isThere = true;
      showSettled();
      if (found.bars) await complete(isQuiet ? null : data.summary, own.signal);
    }
    isWorthAnotherLook = !own.signal.aborted && isLive();
  } catch (error) {
    if (own.signal.aborted) return;
    if (isThere && error instanceof ApiError && error.status !== 401 && error.status !== 403) {
      isWorthAnotherLook = true;
      drawFreshness("The service does not answer; trying again");
    } else fail(error);
  } finally {
    if (!own.signal.aborted) {
      showSettled();
      if (isWorthAnotherLook) liveTimer = setTimeout(look, Math.max(LIVE_MILLISECONDS, REST_FOR_WORK * (performance.now() - begin)));
    }
  }
}

/** `summary`: what is known and still good; null: ask. */
async function complete(summary, signal) {
  const rest = await loadRest(state, { ...data, summary }, signal);
  if (signal.aborted) return;
  data = { ...data, ...rest, isWhole: true };
  // The tones are those of all types, of which some were unknown.
  if (data.types.length) draw();
  else drawAround();
}

function look() {
  if (document.hidden) return;
  refresh({ isQuiet: true });
}

/** What a look of the same view that finds the same need not draw; own dates are looked at without their edges. */
function fingerprint({ edges, window, total, lastIngestedAt, previous }) {
  const { newest, voided } = edges ?? data.edges;
  return JSON.stringify([newest, voided, window && isoOf(window), total, lastIngestedAt, previous?.total]);
}

function isoText(found) {
  return JSON.stringify(isoOf(found.window));
}

/** Whether the newest hour is in view, or there is none yet. */
function isLive() {
  if (data.edges === null) return false;
  const { newest } = data.edges;
  return newest === null || (data.window.start <= newest && newest < data.window.end);
}

async function offerCustomers(signal) {
  const customers = await getCustomers("", 8, signal);
  if (signal.aborted) return;
  if (!customers.length) {
    showPanel("start", "No events yet", "Drop a CSV file anywhere on this page, or choose one. Each row gets a receipt.", [
      button("Choose a CSV file", () => byId("file").click(), "primary"),
    ]);
    return;
  }
  showPanel("start", "Choose a customer", "Type the start of an id above, or take one of these.", customers.map(customerButton));
}

function customerButton({ customer_id: id, total }) {
  return h(
    "button",
    { type: "button", class: "chip", onclick: () => go({ customer: id, types: [] }) },
    h("span", { class: "name" }, id),
    h("span", { class: "total" }, format.count(total)),
  );
}

// --- faces ----------------------------------------------------------------------------------------

function fail(error) {
  if (error instanceof BadDates) {
    byId("dates-error").textContent = error.message;
    show(byId("dates-error"), true);
    if (view === null) showPanel("start", "Which dates?", "Choose where the range begins and ends.");
    return;
  }
  forget();
  if (error.status === 401 || error.status === 403) {
    askForKey(error);
    return;
  }
  const again = button("Try again", () => refresh(), "primary");
  if (error instanceof ApiError) showPanel("error", error.title, sentence(error.detail), [again]);
  else {
    showPanel("error", "Something is wrong on this page", "Reload it, or look into the console of the browser.", [again]);
    throw error;
  }
}

function askForKey(error) {
  const hasKey = key.get() !== "";
  if (error.status === 403 && !state.customer) {
    showPanel("key", "Choose a customer", "This key sees only its own customer: type its id above. Or use another key.");
  } else if (error.status === 403) {
    showPanel("key", "No permission", `${sentence(error.detail)} Another key may have the right to it.`);
  } else if (hasKey) showPanel("key", "This key is not accepted", "It may be mistyped, expired or revoked. Enter another one.");
  else showPanel("key", "An API key is needed", "This service answers only those with a key that may read.");
}

/** Ask for a key in the middle of something; resolves when there is a new one. */
function needKey(error) {
  askForKey(error);
  byId("key").focus();
  return new Promise((resolve) => onKey.push(resolve));
}

function draw() {
  if (data.edges?.newest === null) {
    drawNobody(data.edges.voided);
    return;
  }
  const { unit, bars, previous, types } = data;
  const all = knownTypes(data) ?? ranked(typesOf(bars));
  const layers = state.view === "stacked" ? layersOf(all, types) : [{ name: "Total", types: [], tone: 0, isTotal: true }];
  view = { unit, zone: unit === "hour" ? "UTC" : data.zone, bars, layers, previous: previous?.bars ?? null };
  showResult();
  byId("result-title").textContent = byId("result-title").title = state.customer;
  byId("result-window").textContent = `${format.windowText(data.window)}, ${data.zone}`;
  show(byId("empty"), data.total === 0);
  chart.draw(view);
  byId("chart-note").textContent = noteOf(data, state.bars);
  drawTable(view);
  drawAround();
}

function drawAround() {
  drawFreshness();
  drawStats(data);
  const known = knownTypes(data);
  if (known) typeList.draw(known, data.types, view.layers);
  // A choice of types may leave nothing of a range that has something.
  show(byId("to-newest"), data.summary ? data.summary.total === 0 : !data.types.length);
}

/** An id under which nothing is stored, or nothing that counts. */
function drawNobody(voided) {
  view = null;
  chart.clear();
  // An id's direction is its own: nothing after it is turned round.
  const id = h("bdi", {}, state.customer);
  const others = button("See the customers there are", () => go({ customer: "", types: [] }));
  if (!voided) {
    showPanel("unknown", "No events of this customer", ["Nothing is stored for “", id, "”. Ids are exact: case and every character count."], [others]);
    return;
  }
  const when = format.exact(Date.parse(voided.voided_at));
  const text = ["“", id, `” is known, and nothing of it is counted. Its newest event was voided on ${when}: “`, h("bdi", {}, voided.void_reason), "”."];
  showPanel("voided", "Every event of this customer is voided", text, [others]);
}

function drawFreshness(trouble = "") {
  const element = byId("freshness");
  const last = data?.lastIngestedAt ? `last change ${format.exact(Date.parse(data.lastIngestedAt))}` : "no changes in this range";
  element.dataset.state = trouble ? "trouble" : isLive() ? "live" : "still";
  element.textContent = trouble || (isLive() ? `Live, ${last}` : last[0].toUpperCase() + last.slice(1));
}

// --- what the reader does -------------------------------------------------------------------------

byId("ranges").addEventListener("change", ({ target }) => {
  if (target.value !== "own") {
    go({ range: target.value, start: "", end: "" });
    return;
  }
  // From what is in view, so that there is something to begin with.
  const text = (at) => iso(at).slice(0, 16);
  go(data?.window ? { range: "own", start: text(data.window.local.start), end: text(data.window.local.end) } : { range: "own" });
});
byId("dates").addEventListener("submit", (event) => {
  event.preventDefault();
  go({ start: byId("start").value, end: byId("end").value });
});
for (const input of document.getElementsByName("view")) input.addEventListener("change", () => go({ view: input.value }));
byId("bars").addEventListener("change", ({ target }) => go({ bars: target.value }));
byId("compare").addEventListener("change", ({ target }) => go({ compare: target.checked }));
byId("to-newest").addEventListener("click", () => go({ range: "30d", start: "", end: "" }));
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("key").value.trim();
  if (!text) return;
  key.set(text);
  byId("key").value = "";
  drawControls();
  onKey.splice(0).forEach((resolve) => resolve());
  refresh();
});
byId("forget-key").addEventListener("click", () => {
  key.forget();
  forget();
  drawControls();
  refresh();
});
window.addEventListener("popstate", () => {
  const before = state;
  state = readState(location.search);
  field.close();
  follow(before);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && data !== null) look();
});

drawControls();
refresh();
