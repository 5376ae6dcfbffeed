// The public API, and the key that goes with each request.

const KEY = "events.api-key";
const MOST_BUCKETS = 10_000;
/** More than one, as the newest may be voided. */
const MOST_EVENTS = 20;

/** An answer that is no good one. `status` 0: there was none. */
export class ApiError extends Error {
  constructor(status, title, detail, errors = [], retryAfterSeconds = null) {
    super(detail);
    Object.assign(this, { status, title, detail, errors, retryAfterSeconds });
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

export function bucketsPath(customer, parameters) {
  return `${customerPath(customer)}/buckets?${parameters}`;
}

/**
 * The parameters of the buckets route.
 *
 * @param unit How long a bucket is; days, weeks and months are those of `zone`.
 * @param types Only these; none: all.
 */
export function bucketParameters(window, { unit, zone, types, isGrouped }) {
  const query = new URLSearchParams({ start: window.start, end: window.end });
  if (unit !== "hour") query.set("window", unit);
  if (unit !== "hour" && zone !== "UTC") query.set("timezone", zone);
  for (const type of types) query.append("event_type", type);
  if (isGrouped) query.set("group_by", "event_type");
  return query;
}

/**
 * All buckets of a window.
 *
 * One request, unless there are more than 10,000, or the service counts so many raw events for
 * midnights within UTC hours that it ends a page early.
 *
 * @param isFilled Those without events too.
 */
export async function getBuckets(customer, window, options, isFilled, signal) {
  const query = bucketParameters(window, options);
  if (isFilled) query.set("fill", "zero");
  query.set("limit", MOST_BUCKETS);
  const first = await get(bucketsPath(customer, query), signal);
  const buckets = [...first.buckets];
  for (let next = first.next; next; ) {
    query.set("cursor", next);
    const page = await get(bucketsPath(customer, query), signal);
    buckets.push(...page.buckets);
    next = page.next;
  }
  return { total: first.total, lastIngestedAt: first.last_ingested_at, buckets };
}

/** The same as CSV, all pages in one text with one header. */
export async function getCsv(customer, window, options) {
  const query = bucketParameters(window, options);
  query.set("limit", MOST_BUCKETS);
  query.set("format", "csv");
  let text = "";
  for (let path = bucketsPath(customer, query); path; ) {
    const response = await request(path);
    const page = await contentOf(response, "text");
    text += text ? page.slice(page.indexOf("\n") + 1) : page;
    const next = /<\?([^>]*)>/.exec(response.headers.get("Link") ?? "");
    path = next ? bucketsPath(customer, next[1]) : null;
  }
  return text;
}

/** The newest (or oldest) stored events, voided ones too. */
export async function getEvents(customer, order, signal) {
  const query = new URLSearchParams({ order, limit: MOST_EVENTS });
  return (await get(`${customerPath(customer)}/events?${query}`, signal)).events;
}

/** A customer at a glance, in a window; null: all there is. */
export async function getSummary(customer, window, signal) {
  const query = window ? `?${new URLSearchParams(window)}` : "";
  return get(`${customerPath(customer)}/summary${query}`, signal);
}

export async function getCustomers(prefix, limit, signal) {
  const query = new URLSearchParams({ prefix, limit });
  return (await get(`/events/customers?${query}`, signal)).customers;
}

/** The receipts of one chunk; throws `ApiError` where the whole of it was refused. */
export async function postEvents(events, signal) {
  const response = await request("/events", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ events }),
    signal,
  });
  return contentOf(response, "json");
}

async function get(path, signal) {
  return contentOf(await request(path, { signal }), "json");
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The service cannot be reached", "Is it running? Is the network up?");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** @param kind `json` or `text`. An answer that breaks off, or is no such thing, is as good as none. */
async function contentOf(response, kind) {
  try {
    return await response[kind]();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The answer cannot be read", "It broke off, or something on the way gave another.");
  }
}

async function problemOf(response) {
  const seconds = Number(response.headers.get("Retry-After")) || null;
  try {
    const problem = await response.json();
    const { title, detail, errors = [] } = problem;
    return new ApiError(response.status, title, detail, errors, seconds);
  } catch {
    // A proxy's page; nothing in it is for the reader.
    return new ApiError(response.status, `Answer ${response.status}`, response.statusText, [], seconds);
  }
}
