// The dashboard. The URL holds the state, queries turn the state into data, panels show the data.

import { ApiError, getCustomers } from "./api.js";
import { makeControls } from "./controls.js";
import { button, byId, show } from "./dom.js";
import { makeDownloadMenu } from "./downloadmenu.js";
import { plural, sentence } from "./format.js";
import { makeKeyPanel } from "./keypanel.js";
import { drawOverview, queryOverview } from "./overview.js";
import { announce, hideLoading, showCustomers, showLoading, showNoEvents, showPanel } from "./panels.js";
import { InvalidDates, isLive, queryChart, queryDetails } from "./queries.js";
import { isoRange } from "./ranges.js";
import { makeResult } from "./result.js";
import { readState, writeState } from "./state.js";
import { makeUploadPanel } from "./uploadpanel.js";

const POLL_MILLISECONDS = 5_000;
/** After a slow query, wait ten times as long as it took before the next one. */
const POLL_WAIT_FACTOR = 10;
const MAX_CUSTOMERS = 8;

let state = readState(location.search);
/** The state that the latest query was sent for. */
let queriedState = state;
/** What the latest queries returned: see `queryChart` and `queryDetails`. Null: nothing yet. */
let data = null;
/** Aborts the query that is under way. */
let query = null;
let pollTimer = null;

const result = makeResult({ go, getTypes: () => state.types });
const controls = makeControls({ go, getRange: () => data?.range });
const keyPanel = makeKeyPanel({
  onChange() {
    forgetData();
    drawControls();
    refresh();
  },
});
makeUploadPanel({
  waitForKey: (error) => keyPanel.waitForKey(error, state.customer),
  onDone: () => refresh({ isPoll: data !== null }),
  choose(customer) {
    go({ customer, types: [], range: state.range === "own" ? "30d" : state.range });
    scrollTo({ top: 0 });
  },
});
makeDownloadMenu({
  getView: () => ({
    customer: state.customer,
    data,
    layers: result.layers(),
    picture: result.picture(),
    options: { unit: data.unit, zone: data.zone, types: data.types, isGrouped: state.view === "stacked" },
  }),
});
addEventListener("popstate", () => {
  const before = state;
  state = readState(location.search);
  controls.closeSuggestions();
  follow(before);
});
document.addEventListener("visibilitychange", () => data !== null && poll());
drawControls();
refresh();

// --- the state ------------------------------------------------------------------------------------

/** Change the state, and with it the URL and what is shown. */
function go(change) {
  const before = state;
  // Marks are about one customer.
  const marks = (change.customer ?? state.customer) === state.customer ? state.marks : [];
  state = Object.freeze({ ...state, marks, ...change });
  const url = location.pathname + writeState(state);
  if (url !== location.pathname + location.search) history.pushState(null, "", url);
  follow(before);
}

/** Show the current state: with a new query, or with the data that is there if it is enough. */
function follow(before) {
  drawControls();
  const hasChanged = ["customer", "range", "start", "end", "timezone", "compare", "types", "bars"].some(
    (name) => String(state[name]) !== String(queriedState[name]),
  );
  // Counts by type hold the total too, but not the other way round.
  const needsTypes = state.view === "stacked" && queriedState.view !== "stacked";
  if (data && !hasChanged && !needsTypes) {
    draw();
    return;
  }
  if (state.customer !== before.customer) forgetData();
  const isSameRange = state.customer === before.customer && state.range === before.range;
  refresh({ extent: isSameRange && data?.bars ? data.extent : null });
}

function drawControls() {
  controls.draw(state);
  keyPanel.draw();
  result.markTypes(state.types);
  document.title = state.customer ? `${state.customer} · Usage events` : "Usage events";
}

function forgetData() {
  data = null;
  result.clear();
}

// --- the queries ----------------------------------------------------------------------------------

/**
 * Query the data of the current state and show it: first the chart, then the details around it.
 *
 * @param isPoll Whether the same state is shown already: no loading state, and errors leave it as it is.
 * @param extent The customer's extent if it is known, else null.
 */
async function refresh({ isPoll = false, extent = null } = {}) {
  clearTimeout(pollTimer);
  query?.abort();
  query = new AbortController();
  const { signal } = query;
  const begin = performance.now();
  queriedState = state;
  let isShown = isPoll;
  let isPolled = false;
  try {
    if (!isPoll) showLoading(result.isShown());
    if (!state.customer) {
      const choose = (customer) => go({ customer, types: [] });
      const overview = await queryOverview(signal);
      const customers = overview ? null : await getCustomers("", MAX_CUSTOMERS, signal);
      if (signal.aborted) return;
      if (overview) {
        hideLoading();
        show(byId("result"), false);
        drawOverview(overview, choose);
        announce(`All customers: ${plural(overview.total, "event")}, ${byId("overview-range").textContent}`);
      } else showCustomers(customers, choose);
      return;
    }
    const chart = await queryChart(state, extent, signal);
    if (signal.aborted) return;
    show(byId("dates-error"), false);
    if (isPoll && data?.isComplete && data.state === state && fingerprint(chart) === fingerprint(data)) result.drawFreshness(data);
    else {
      // The summary does not depend on the chosen types: keep it for the same range.
      const isSameRange = data?.range && chart.range && isoText(chart) === isoText(data);
      data = { ...chart, state, summary: isSameRange ? data.summary : null, isComplete: !chart.bars };
      draw();
      if (!isPoll && result.isShown()) announce(`${state.customer}: ${plural(data.total, "event")}, ${byId("result-range").textContent}`);
      isShown = true;
      hideLoading();
      if (chart.bars) await refreshDetails(isPoll ? null : data.summary, signal);
    }
    isPolled = !signal.aborted && isLive(data);
  } catch (error) {
    if (signal.aborted) return;
    if (isShown && error instanceof ApiError && !error.isAboutKey) {
      isPolled = true;
      result.drawFreshness(data, "The service is not responding. Retrying…");
    } else showError(error);
  } finally {
    if (!signal.aborted) {
      hideLoading();
      if (isPolled) pollTimer = setTimeout(poll, Math.max(POLL_MILLISECONDS, POLL_WAIT_FACTOR * (performance.now() - begin)));
    }
  }
}

/** @param summary The summary if it is known and up to date, else null. */
async function refreshDetails(summary, signal) {
  const details = await queryDetails(state, { ...data, summary }, signal);
  if (signal.aborted) return;
  data = { ...data, ...details, isComplete: true };
  // The colors depend on all types of the range, and a chart of chosen types did not know them.
  if (data.types.length) draw();
  else result.drawDetails(data);
}

function poll() {
  if (!document.hidden) refresh({ isPoll: true });
}

/** Equal for two answers that look the same. Polls of custom dates do not query the extent. */
function fingerprint({ extent, range, total, lastIngestedAt, previous }) {
  const { newest, latest, voided } = extent ?? data.extent;
  return JSON.stringify([newest, latest, voided, range && isoRange(range), total, lastIngestedAt, previous?.total]);
}

function isoText({ range }) {
  return JSON.stringify(isoRange(range));
}

// --- the panels -----------------------------------------------------------------------------------

function draw() {
  if (data.extent?.newest !== null) {
    result.draw(data, state);
    return;
  }
  result.clear();
  showNoEvents(state.customer, data.extent.voided, () => go({ customer: "", types: [] }));
}

function showError(error) {
  if (error instanceof InvalidDates) {
    byId("dates-error").textContent = error.message;
    show(byId("dates-error"), true);
    if (!result.isShown()) showPanel("start", "Choose dates", "Enter the start and the end of the range above.");
    return;
  }
  forgetData();
  const retry = button("Try again", () => refresh(), "primary");
  if (!(error instanceof ApiError)) {
    showPanel("error", "Something went wrong on this page", "Reload the page. The browser's console has the details.", [retry]);
    throw error;
  }
  if (error.isAboutKey) keyPanel.ask(error, state.customer);
  else showPanel("error", error.title, sentence(error.detail), [retry]);
}
