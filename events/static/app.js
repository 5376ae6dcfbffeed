// The page: what is asked, what is known of it, and which of its faces is shown.

import { ApiError, getCsv, getCustomers, key } from "./api.js";
import { makeChart } from "./chart.js";
import { makeCustomerField } from "./customers.js";
import { byId, h, show } from "./dom.js";
import { curlOf, fileName, pictureOf, save, toPng } from "./exports.js";
import * as format from "./format.js";
import { BadDates, load } from "./load.js";
import { barsOf, busiest, iso, layersOf, typesOf, unitFor } from "./series.js";
import { changed, readState, writeState } from "./state.js";
import { drawTable } from "./table.js";
import { makeUpload } from "./uploadview.js";

const LIVE_MILLISECONDS = 5_000;
/** A question that takes long is asked less often. */
const REST_FOR_WORK = 10;
const TYPES_SHOWN = 12;
const TOAST_MILLISECONDS = 3_000;

const chart = makeChart(byId("plot"), byId("tip"));
let state = readState(location.search);
let data = null;
let view = null;
let asking = null;
let liveTimer = null;
let areAllTypesShown = false;
let onKey = [];

const field = makeCustomerField({
  input: byId("customer"),
  list: byId("customers"),
  choose: (customer) => go({ customer, types: [] }),
});
const upload = makeUpload({
  needKey,
  onDone: () => refresh({ isQuiet: data !== null }),
  choose: (customer) => {
    go({ customer, types: [], range: state.range === "own" ? "30d" : state.range });
    window.scrollTo({ top: 0 });
  },
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
  const names = ["customer", "range", "start", "end", "compare"];
  const isOther = names.some((name) => state[name] !== before[name]);
  if (isOther || data === null || (state.compare && String(state.types) !== String(before.types))) {
    if (state.customer !== before.customer) forget();
    refresh();
  } else draw();
}

function forget() {
  data = null;
  view = null;
  areAllTypesShown = false;
  chart.clear();
}

function drawControls() {
  byId("customer").value = state.customer;
  for (const name of ["range", "view"]) {
    for (const input of document.getElementsByName(name)) input.checked = input.value === state[name];
  }
  byId("bars").value = state.bars;
  byId("compare").checked = state.compare;
  show(byId("dates"), state.range === "own");
  for (const name of ["start", "end"]) byId(name).value = state[name];
  show(byId("forget-key"), key.get() !== "");
  document.title = state.customer ? `${state.customer} · Usage events` : "Usage events";
}

// --- what is known --------------------------------------------------------------------------------

async function refresh({ isQuiet = false } = {}) {
  clearTimeout(liveTimer);
  asking?.abort();
  const own = (asking = new AbortController());
  const begin = performance.now();
  let isWorthAnotherLook = false;
  try {
    if (!isQuiet) showLoading();
    if (!state.customer) {
      await offerCustomers(own.signal);
      return;
    }
    const found = await load(state, own.signal);
    if (own.signal.aborted) return;
    show(byId("dates-error"), false);
    const isSame = isQuiet && data && fingerprint(found) === fingerprint(data);
    data = found;
    isWorthAnotherLook = isLive();
    if (isSame) drawFreshness();
    else draw();
  } catch (error) {
    if (own.signal.aborted) return;
    if (isQuiet && error instanceof ApiError && error.status !== 401 && error.status !== 403) {
      isWorthAnotherLook = true;
      drawFreshness("The service does not answer; trying again");
    } else fail(error);
  } finally {
    if (!own.signal.aborted) {
      byId("result").removeAttribute("aria-busy");
      show(byId("loading"), false);
      if (isWorthAnotherLook) liveTimer = setTimeout(look, Math.max(LIVE_MILLISECONDS, REST_FOR_WORK * (performance.now() - begin)));
    }
  }
}

function look() {
  if (document.hidden) return;
  refresh({ isQuiet: true });
}

function fingerprint({ newest, total, lastIngestedAt, isoWindow, previous }) {
  return JSON.stringify([newest, total, lastIngestedAt, isoWindow, previous?.total]);
}

/** Whether the newest hour is in view, or there is none yet. */
function isLive() {
  if (data.newest === null) return true;
  return data.window.start <= data.newest && data.newest < data.window.end;
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

function showLoading() {
  show(byId("panel"), false);
  const isThere = data !== null && data.newest !== null;
  byId("result").setAttribute("aria-busy", "true");
  show(byId("result"), isThere);
  show(byId("loading"), !isThere);
}

function showPanel(kind, title, text, actions = []) {
  show(byId("result"), false);
  show(byId("loading"), false);
  byId("panel").dataset.kind = kind;
  byId("panel-title").textContent = title;
  byId("panel-text").textContent = text;
  byId("panel-actions").replaceChildren(...actions);
  show(byId("key-form"), kind === "key");
  show(byId("panel"), true);
}

function fail(error) {
  if (error instanceof BadDates) {
    byId("dates-error").textContent = error.message;
    show(byId("dates-error"), true);
    if (data === null) showPanel("start", "Which dates?", "Choose where the range begins and ends.");
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

function sentence(text) {
  const whole = text ? text[0].toUpperCase() + text.slice(1) : "It did not say why";
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function button(text, onclick, className = null) {
  return h("button", { type: "button", class: className, onclick }, text);
}

function draw() {
  if (data.newest === null) {
    forgetDrawing();
    showPanel("unknown", "No events of this customer", `Nothing is stored for “${state.customer}”. Ids are exact: case and every character count.`, [
      button("See the customers there are", () => go({ customer: "", types: [] })),
    ]);
    return;
  }
  const unit = unitFor(state.bars, data.window);
  const ranked = typesOf(data.buckets);
  const { types } = state;
  const bars = barsOf(data.buckets, data.window, unit, { types, now: Date.now() });
  const isStacked = state.view === "stacked";
  const layers = isStacked ? layersOf(ranked, types) : [{ name: "Total", types: [], tone: 0, isTotal: true }];
  const previous = data.previous ? barsOf(data.previous.buckets, data.window, unit, { shift: data.length }) : null;
  view = { unit, bars, layers, previous };
  const total = bars.reduce((sum, bar) => sum + bar.count, 0);
  show(byId("panel"), false);
  show(byId("loading"), false);
  show(byId("result"), true);
  byId("result-title").textContent = state.customer;
  byId("result-window").textContent = `${format.windowText(data.window)}, UTC`;
  drawFreshness();
  drawStats(total);
  drawTypes(ranked);
  show(byId("empty"), total === 0);
  show(byId("to-newest"), data.buckets.length === 0);
  chart.draw(view);
  byId("chart-note").textContent = noteOf(bars);
  drawTable(view);
}

function forgetDrawing() {
  view = null;
  chart.clear();
}

function noteOf(bars) {
  const notes = [`Events by ${view.unit}, UTC.`];
  if (bars.some((bar) => bar.isPartial)) notes.push("Hatched: cut by the range, or not over yet.");
  else if (bars.some((bar) => bar.isOpen)) notes.push("Hatched: not over yet.");
  if (view.previous) notes.push("Line: the period before.");
  return notes.join(" ");
}

function drawFreshness(trouble = "") {
  const element = byId("freshness");
  const last = data.lastIngestedAt ? `last change ${format.exact(Date.parse(data.lastIngestedAt))}` : "no changes in this range";
  element.dataset.state = trouble ? "trouble" : isLive() ? "live" : "still";
  element.textContent = trouble || (isLive() ? `Live, ${last}` : last[0].toUpperCase() + last.slice(1));
}

function drawStats(total) {
  byId("stat-total").textContent = format.count(total);
  const before = view.previous?.reduce((sum, bar) => sum + bar.count, 0);
  byId("stat-change").textContent = view.previous ? `${format.change(total, before)}, before ${format.count(before)}` : scopeText();
  const best = busiest(data.buckets, state.types);
  byId("stat-busiest").textContent = best ? format.count(best.count) : "–";
  byId("stat-busiest-when").textContent = best ? `${format.hourSpan(best.start)} UTC` : "";
  byId("stat-mean-name").textContent = `Average ${view.unit}`;
  byId("stat-mean").textContent = format.count(Math.round((total / view.bars.length) * 10) / 10);
  byId("stat-mean-more").textContent = `over ${format.plural(view.bars.length, view.unit)}`;
}

function scopeText() {
  return state.types.length ? `of ${format.plural(state.types.length, "event type")}` : "of all types";
}

function drawTypes(ranked) {
  const known = new Set(ranked.map(([type]) => type));
  const all = [...ranked, ...state.types.filter((type) => !known.has(type)).map((type) => [type, 0])];
  const isOver = all.length > TYPES_SHOWN && !areAllTypesShown;
  const shown = isOver ? all.filter(([type], place) => place < TYPES_SHOWN || state.types.includes(type)) : all;
  const toneOf = new Map(view.layers.flatMap((layer) => (layer.isTotal ? [] : layer.types.map((type) => [type, layer.tone]))));
  const focused = document.activeElement?.dataset?.type;
  const chips = shown.map(([type, total]) => {
    const isOn = state.types.includes(type);
    const tone = toneOf.get(type);
    return h(
      "button",
      { type: "button", class: "chip", "aria-pressed": String(isOn), "data-type": type, onclick: () => toggle(type) },
      tone === undefined ? null : h("span", { class: `key tone-${tone}`, "aria-hidden": "true" }),
      h("span", { class: "name" }, type),
      h("span", { class: "total" }, format.count(total)),
    );
  });
  if (isOver) chips.push(button(`${format.count(all.length - shown.length)} more types`, () => ((areAllTypesShown = true), drawTypes(ranked)), "quiet"));
  if (state.types.length) chips.push(button("All types", () => go({ types: [] }), "quiet"));
  byId("types").replaceChildren(...chips);
  if (focused !== undefined) chips.find((chip) => chip.dataset.type === focused)?.focus();
}

function toggle(type) {
  const { types } = state;
  go({ types: types.includes(type) ? types.filter((each) => each !== type) : [...types, type] });
}

// --- what is taken away ---------------------------------------------------------------------------

function toast(text) {
  byId("toast").textContent = text;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (byId("toast").textContent = ""), TOAST_MILLISECONDS);
}

/** A failed download says so and leaves the view as it is. */
function on(id, act) {
  byId(id).addEventListener("click", async () => {
    try {
      await act();
    } catch (error) {
      toast(error instanceof ApiError ? `${error.title}: ${error.detail}` : `That did not work: ${error.message}`);
    }
  });
}

const asked = () => ({ types: state.types, isGrouped: state.view === "stacked" });
const named = (ending) => fileName(state.customer, data.window, ending);
const picture = () =>
  pictureOf(chart.picture(), { customer: state.customer, window: data.window, total: view.bars.reduce((sum, bar) => sum + bar.count, 0), layers: view.layers });

on("save-csv", async () => save(named("csv"), await getCsv(state.customer, data.isoWindow, asked()), "text/csv"));
on("save-svg", () => save(named("svg"), picture(), "image/svg+xml"));
on("save-png", async () => save(named("png"), await toPng(picture())));
on("copy-curl", async () => {
  await navigator.clipboard.writeText(curlOf(state.customer, data.isoWindow, asked()));
  toast("Copied");
});

// --- what the reader does -------------------------------------------------------------------------

byId("ranges").addEventListener("change", ({ target }) => {
  if (target.value !== "own") {
    go({ range: target.value, start: "", end: "" });
    return;
  }
  // From what is in view, so that there is something to begin with.
  const text = (at) => iso(at).slice(0, 16);
  go(data?.window ? { range: "own", start: text(data.window.start), end: text(data.window.end) } : { range: "own" });
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
byId("add-events").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) upload.start(target.files[0]);
  target.value = "";
});

const isFile = (event) => event.dataTransfer?.types.includes("Files");
window.addEventListener("dragover", (event) => {
  if (!isFile(event)) return;
  event.preventDefault();
  show(byId("drop"), true);
});
window.addEventListener("dragleave", (event) => event.relatedTarget === null && show(byId("drop"), false));
window.addEventListener("drop", (event) => {
  if (!isFile(event)) return;
  event.preventDefault();
  show(byId("drop"), false);
  if (event.dataTransfer.files[0]) upload.start(event.dataTransfer.files[0]);
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
