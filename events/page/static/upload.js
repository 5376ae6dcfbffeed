// A CSV file to receipts: sent chunk by chunk, each again until it is answered.

import { ApiError, postEvents } from "./api.js";
import { readRows } from "./csv.js";

const EVENTS_A_CHUNK = 1_000;
/** Of the JSON, about: the service takes 4 MiB. */
const CHARACTERS_A_CHUNK = 1_000_000;
/** What a later try may mend: no answer, a slow body, too often, a proxy's word, a store that is down. */
const WORTH_ANOTHER_TRY = new Set([0, 408, 429, 502, 503, 504]);
const LONGEST_WAIT_SECONDS = 30;
const MOST_CUSTOMERS = 5;

export function newProgress() {
  return { bytes: 0, rows: 0, inserted: 0, duplicates: 0, voided: 0, accepted: 0, rejected: [], customers: new Set(), retries: 0, waitSeconds: 0, hasAnswer: false };
}

/**
 * Send a file.
 *
 * @param onChange Called with the receipts so far, and `waitSeconds` while it waits; `isAsked`: as an
 *   answer said, not because there was none.
 * @param waitForKey Called where a key is needed; resolves when there is a new one.
 * @returns The receipts; throws where it cannot go on (`receipts` of the error has what was done).
 */
export async function sendFile(file, { signal, onChange, waitForKey }) {
  const receipts = newProgress();
  const tell = () => onChange(receipts);
  const send = (chunk) => sendChunk(chunk, receipts, { signal, tell, waitForKey });
  let chunk = [];
  let size = 0;
  try {
    for await (const row of readRows(file, (bytes) => (receipts.bytes = bytes))) {
      signal.throwIfAborted();
      receipts.rows += 1;
      if (row.reason) {
        receipts.rejected.push(row);
        continue;
      }
      const length = row.row.length + 100;
      if (chunk.length === EVENTS_A_CHUNK || size + length > CHARACTERS_A_CHUNK) {
        await send(chunk);
        [chunk, size] = [[], 0];
      }
      chunk.push(row);
      size += length;
    }
    if (chunk.length) await send(chunk);
  } finally {
    receipts.rejected.sort((a, b) => a.line - b.line);
    tell();
  }
  return receipts;
}

async function sendChunk(chunk, receipts, to) {
  for (let tries = 0; ; tries += 1) {
    try {
      const answer = await postEvents(chunk.map((row) => row.event), to.signal);
      take(chunk, answer, receipts);
      to.tell();
      return;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) await Promise.race([to.waitForKey(error), stopped(to.signal)]);
      else if (error.status === 413 && chunk.length > 1) {
        const half = Math.ceil(chunk.length / 2);
        await sendChunk(chunk.slice(0, half), receipts, to);
        await sendChunk(chunk.slice(half), receipts, to);
        return;
      } else if (areAllRejected(error, chunk)) {
        reject(chunk, error, receipts);
        to.tell();
        return;
      } else if (!WORTH_ANOTHER_TRY.has(error.status)) throw error;
      else {
        receipts.retries += 1;
        receipts.hasAnswer = error.status !== 0;
        await wait(error.retryAfterSeconds ?? Math.min(2 ** tries, LONGEST_WAIT_SECONDS), receipts, to);
      }
    }
  }
}

function take(chunk, answer, receipts) {
  // A service that hands events to Kafka has only the last of these, others have all but that.
  for (const kind of ["inserted", "duplicates", "voided", "accepted"]) receipts[kind] += answer[kind] ?? 0;
  for (const { index, status, error } of answer.results) {
    const { line, row, event } = chunk[index];
    if (status === "rejected") receipts.rejected.push({ line, reason: error, row });
    else if (receipts.customers.size < MOST_CUSTOMERS) receipts.customers.add(event.customer_id);
  }
}

function areAllRejected(error, chunk) {
  return (
    (error.status === 413 && chunk.length === 1) ||
    (error.status === 400 && error.errors.length > 0 && error.errors.every(({ field }) => /^events\.\d+/.test(field)))
  );
}

function reject(chunk, error, receipts) {
  if (error.status === 413) {
    receipts.rejected.push({ line: chunk[0].line, reason: error.detail, row: chunk[0].row });
    return;
  }
  for (const { field, detail } of error.errors) {
    const [, index, , name] = /^events\.(\d+)(\.(.*))?$/s.exec(field);
    const { line, row } = chunk[Number(index)];
    receipts.rejected.push({ line, reason: name ? `${name}: ${detail}` : detail, row });
  }
}

async function wait(seconds, receipts, { signal, tell }) {
  for (let left = seconds; left > 0; left -= 1) {
    receipts.waitSeconds = left;
    tell();
    await Promise.race([new Promise((resolve) => setTimeout(resolve, Math.min(left, 1) * 1_000)), stopped(signal)]);
  }
  receipts.waitSeconds = 0;
  tell();
}

/** Refuses when it is told to stop, and never resolves. */
function stopped(signal) {
  return new Promise((_, refuse) => {
    if (signal.aborted) refuse(signal.reason);
    signal.addEventListener("abort", () => refuse(signal.reason), { once: true });
  });
}
