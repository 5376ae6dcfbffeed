// Upload a CSV file in chunks, retry each chunk until the service answers, and collect the receipts.

import { ApiError, postCsv } from "./api.js";
import { joined, readChunks } from "./chunks.js";

/** No response, a timeout, a rate limit, a proxy's error, a store that is down: send the chunk again. */
const RETRIED_STATUSES = new Set([0, 408, 429, 502, 503, 504]);
const MAX_WAIT_SECONDS = 30;
const MAX_CUSTOMERS = 5;
const MAX_ROW_CHARACTERS = 1_000;
const COLUMNS = ["customer_id", "event_type", "transaction_id", "timestamp"];
const DELIMITERS = [",", ";", "\t", "|"];

/**
 * What became of a file so far.
 *
 * `rejected` are `{line, reason, row}`, `customers` the first few customer IDs. `waitSeconds` is the
 * time until the next retry, `hasAnswer` whether the service answered before it.
 */
export function newProgress() {
  const counts = { rows: 0, inserted: 0, duplicates: 0, voided: 0, accepted: 0 };
  return { bytes: 0, ...counts, rejected: [], customers: new Set(), retries: 0, waitSeconds: 0, hasAnswer: false };
}

/**
 * Upload a file.
 *
 * @param options How to read the file: `columns`, `assume_timezone`, `timestamp_format`.
 * @param onChange Called with the progress (see `newProgress`).
 * @param waitForKey Called with a 401 error; resolves when the reader has entered another key.
 * @returns The progress at the end. Throws if the upload cannot continue.
 */
export async function sendFile(file, { options, signal, onChange, waitForKey }) {
  const progress = newProgress();
  const tell = () => onChange(progress);
  // The service decides whether the file has a header. Every chunk after the first one starts with it.
  let header = null;
  for await (const { line, bytes } of readChunks(file, (read) => (progress.bytes = read))) {
    signal.throwIfAborted();
    const body = header === null ? bytes : joined(new TextEncoder().encode(`${header}\n`), bytes);
    const answer = await sendChunk(body, progress, { options, signal, tell, waitForKey });
    const lines = new TextDecoder().decode(body).split(/\r?\n/);
    const firstLine = header === null ? line : line - header.split("\n").length;
    header ??= headerOf(lines, answer.results[0].line);
    collect(answer, lines, firstLine, header, customerColumn(options), progress);
    tell();
  }
  return progress;
}

/** The lines before the first row (a header, and perhaps `sep=;`); the default columns if there are none. */
function headerOf(lines, firstRow) {
  const before = lines.slice(0, firstRow - 1).filter((line) => line.trim());
  if (before.length) return before.join("\n");
  const row = lines[firstRow - 1];
  return COLUMNS.join(DELIMITERS.find((delimiter) => row.split(delimiter).length >= COLUMNS.length) ?? ",");
}

async function sendChunk(body, progress, { options, signal, tell, waitForKey }) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await postCsv(body, options, signal);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const results = receiptsOf(error);
      if (results) return { results };
      if (error.status === 401) await Promise.race([waitForKey(error), aborted(signal)]);
      else if (RETRIED_STATUSES.has(error.status)) {
        progress.retries += 1;
        progress.hasAnswer = error.status !== 0;
        await wait(error.retryAfterSeconds ?? Math.min(2 ** tries, MAX_WAIT_SECONDS), progress, signal, tell);
      } else throw error;
    }
  }
}

/** The receipts if the service rejected every row, which it reports as errors in `line 2` and so on. */
function receiptsOf({ errors }) {
  const receipts = errors.map(({ field, detail }) => ({ line: Number(/^line (\d+)$/.exec(field)?.[1]), status: "rejected", error: detail }));
  return receipts.length && receipts.every(({ line }) => line) ? receipts : null;
}

/** Add the answer to a chunk. `lines` are those of the request, `firstLine` is where they start in the file. */
function collect(answer, lines, firstLine, header, column, progress) {
  // A service that writes to Kafka counts only `accepted`, any other one all but that.
  for (const status of ["inserted", "duplicates", "voided", "accepted"]) progress[status] += answer[status] ?? 0;
  const columns = header.split("\n").at(-1).toLowerCase();
  const delimiter = DELIMITERS.find((one) => columns.split(one).length >= COLUMNS.length) ?? ",";
  const customer = cellsOf(columns, delimiter).findIndex((name) => name.trim() === column);
  for (const { line, status, error } of answer.results) {
    const row = lines[line - 1];
    progress.rows += 1;
    if (status === "rejected") {
      progress.rejected.push({ line: firstLine + line - 1, reason: error, row: row.slice(0, MAX_ROW_CHARACTERS) });
    } else if (customer >= 0 && progress.customers.size < MAX_CUSTOMERS) {
      progress.customers.add(cellsOf(row, delimiter)[customer]);
    }
  }
}

/** The name of the customers' column, in lower case, if `columns` has no alias for it. */
function customerColumn({ columns = "" }) {
  const pairs = columns.split(",").map((pair) => pair.split("=").map((part) => part.trim()));
  return (pairs.find(([field]) => field === COLUMNS[0])?.[1] ?? COLUMNS[0]).toLowerCase();
}

/** The cells of a valid line of CSV. */
function cellsOf(line, delimiter) {
  const cell = new RegExp(`(?:^|[${delimiter}])(?:"((?:[^"]|"")*)"|([^${delimiter}]*))`, "g");
  return [...line.matchAll(cell)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain);
}

async function wait(seconds, progress, signal, tell) {
  for (let left = seconds; left > 0; left -= 1) {
    progress.waitSeconds = left;
    tell();
    await Promise.race([new Promise((resolve) => setTimeout(resolve, Math.min(left, 1) * 1_000)), aborted(signal)]);
  }
  progress.waitSeconds = 0;
  tell();
}

/** Rejects when the signal is aborted; never resolves. */
function aborted(signal) {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
