// Requests to the public API, and the API key that they carry.

const KEY = "events.api-key";
const ALL_TIME = Object.freeze({ start: "0001-01-01", end: "9999-12-31T23:59:59.999999Z" });
const MAX_BUCKETS = 10_000;
/** Of 100 customers each. */
const MAX_PAGES = 10;
/** More than one, because the newest may be voided. */
const MAX_EVENTS = 20;

/** A request that failed. `status` 0: no response, or one that could not be read. */
export class ApiError extends Error {
  constructor(status, title, detail, errors = [], retryAfterSeconds = null) {
    super(detail);
    Object.assign(this, { status, title, detail, errors, retryAfterSeconds });
  }

  get isAboutKey() {
    return this.status === 401 || this.status === 403;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

function customerPath(customer) {
  return `/events/customers/${encodeURIComponent(customer)}`;
}

/** Browsers remove these two from paths, also when they are encoded. */
function isDots(customer) {
  return customer === "." || customer === "..";
}

export function bucketsPath(customer, parameters) {
  if (isDots(customer)) return `/events/buckets?customer_id=${customer}&${parameters}`;
  return `${customerPath(customer)}/buckets?${parameters}`;
}

/**
 * The parameters of the buckets route.
 *
 * @param range `{start, end}` as ISO 8601 text.
 * @param unit The size of a bucket, which is one of `zone`.
 * @param types Only these event types; empty for all.
 */
export function bucketParameters(range, { unit, zone, types, isGrouped }) {
  const query = new URLSearchParams({ start: range.start, end: range.end });
  if (unit !== "hour") query.set("window", unit);
  if (zone !== "UTC") query.set("timezone", zone);
  for (const type of types) query.append("event_type", type);
  if (isGrouped) query.set("group_by", "event_type");
  return query;
}

/**
 * All buckets of a range, from as many pages as the service needs.
 *
 * @param isFilled Whether to include buckets without events.
 */
export async function getBuckets(customer, range, options, isFilled, signal) {
  const query = bucketParameters(range, options);
  if (isFilled) query.set("fill", "zero");
  query.set("limit", MAX_BUCKETS);
  const getPage = async () => {
    const answer = await get(bucketsPath(customer, query), signal);
    return { ...answer, ...answer.customers?.[0] };
  };
  const first = await getPage();
  const buckets = [...first.buckets];
  for (let { next } = first; next; ) {
    query.set("cursor", next);
    const page = await getPage();
    buckets.push(...page.buckets);
    next = page.next;
  }
  return { total: first.total, lastIngestedAt: first.last_ingested_at, buckets };
}

/**
 * The buckets of all customers, of at most `MAX_PAGES` pages.
 *
 * @returns `customers`, each with `id` and `buckets`, and `isComplete`: no customers were left out.
 */
export async function getAllCustomerBuckets(parameters, signal) {
  const query = new URLSearchParams({ ...parameters, prefix: "", limit: MAX_BUCKETS });
  const customers = new Map();
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await get(`/events/buckets?${query}`, signal);
    for (const { customer_id: id, buckets } of answer.customers) {
      customers.set(id, [...(customers.get(id) ?? []), ...buckets]);
    }
    if (answer.next === null) return { customers: listOf(customers), isComplete: true };
    query.set("cursor", answer.next);
  }
  return { customers: listOf(customers), isComplete: false };
}

function listOf(customers) {
  return [...customers].map(([id, buckets]) => ({ id, buckets }));
}

/** All buckets with events of a range as CSV, with one header. */
export async function getCsv(customer, range, options) {
  const query = bucketParameters(range, options);
  query.set("limit", MAX_BUCKETS);
  query.set("format", "csv");
  let text = "";
  for (let path = bucketsPath(customer, query); path; ) {
    const response = await request(path);
    const page = await read(response, "text");
    text += text ? page.slice(page.indexOf("\n") + 1) : page;
    const next = /<\?([^>]*)>/.exec(response.headers.get("Link") ?? "");
    path = next ? bucketsPath(customer, next[1]) : null;
  }
  return text;
}

/** The newest (or oldest) stored events, including voided ones. */
export async function getEvents(customer, order, signal) {
  if (isDots(customer)) {
    const { total, first_event_at: first, last_event_at: last } = await getSummary(customer, null, signal);
    return total ? [{ timestamp: order === "newest" ? last : first, voided_at: null }] : [];
  }
  const query = new URLSearchParams({ order, limit: MAX_EVENTS });
  return (await get(`${customerPath(customer)}/events?${query}`, signal)).events;
}

/** The summary of a customer in a range, or of all time if the range is null. */
export async function getSummary(customer, range, signal) {
  if (isDots(customer)) return summaryOfHours(customer, range ?? ALL_TIME, signal);
  const query = range ? `?${new URLSearchParams(range)}` : "";
  return get(`${customerPath(customer)}/summary${query}`, signal);
}

/** A summary from buckets alone: its times are those of hours. */
async function summaryOfHours(customer, range, signal) {
  const options = { unit: "hour", zone: "UTC", types: [], isGrouped: true };
  const { total, lastIngestedAt, buckets } = await getBuckets(customer, range, options, false, signal);
  const types = {};
  for (const { counts } of buckets) for (const [type, count] of Object.entries(counts)) types[type] = (types[type] ?? 0) + count;
  const start = (bucket) => bucket?.ts_start_of_hour ?? null;
  const busiest = buckets.reduce((best, bucket) => (bucket.count > (best?.count ?? 0) ? bucket : best), null);
  return { total, by_type: types, first_event_at: start(buckets[0]), last_event_at: start(buckets.at(-1)), busiest_hour: busiest, last_ingested_at: lastIngestedAt };
}

export async function getCustomers(prefix, limit, signal) {
  const query = new URLSearchParams({ prefix, limit });
  return (await get(`/events/customers?${query}`, signal)).customers;
}

/**
 * Send rows of CSV; returns the receipts, or throws an `ApiError` if the service stored none.
 *
 * @param options How to read them: query parameters of the route.
 */
export async function postCsv(body, options, signal) {
  const headers = { "Content-Type": "text/csv; charset=utf-8" };
  const query = new URLSearchParams(options);
  return read(await request(`/events${query.size ? `?${query}` : ""}`, { method: "POST", headers, body, signal }), "json");
}

async function get(path, signal) {
  return read(await request(path, { signal }), "json");
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "Cannot reach the service", "Check that it is running and that this computer is online.");
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** @param format `json` or `text`. */
async function read(response, format) {
  try {
    return await response[format]();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "Invalid response", "The response was cut off, or it did not come from this service.");
  }
}

async function errorOf(response) {
  const seconds = Number(response.headers.get("Retry-After")) || null;
  try {
    const { title, detail, errors = [] } = await response.json();
    return new ApiError(response.status, title, detail, errors, seconds);
  } catch {
    // Not the service's own answer, for example a proxy's HTML page: do not show its content.
    return new ApiError(response.status, `Unexpected response (${response.status})`, response.statusText, [], seconds);
  }
}
