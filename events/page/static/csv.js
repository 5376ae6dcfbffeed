// A strict reader of CSV, with the rules of the service: a row is one line, quotes stand only
// around cells, UTF-8 alone. What an id or a time may be is for the service to say.

export const COLUMNS = ["customer_id", "event_type", "transaction_id", "timestamp"];

const LONGEST_LINE_BYTES = 65_536;
const LONGEST_ROW_SHOWN = 1_000;
const LINE_END = 10;
const TIMESTAMP = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}/;
const OTHER_FORMATS = [
  [[0xff, 0xfe], "is UTF-16: save it as UTF-8"],
  [[0xfe, 0xff], "is UTF-16: save it as UTF-8"],
  [[0x50, 0x4b, 3, 4], "is a zip archive or a spreadsheet (.xlsx): save it as CSV"],
];
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

/** A file that is no CSV of events at all. */
export class NoCsv extends Error {}

/**
 * Every row of a file that is neither blank nor the header, in order.
 *
 * @yields `{line, event}`, or `{line, reason, row}` for one that cannot be sent.
 * @param onBytes Called with the number of bytes read of the file.
 */
export async function* readRows(file, onBytes) {
  let order = null;
  for await (const [line, bytes] of linesOf(file, onBytes)) {
    if (!bytes.length) continue;
    const row = cellsOf(bytes);
    if (order === null) {
      order = orderOf(row.cells ?? [], line, row.text);
      if (order.isHeader) continue;
    }
    if (row.reason) yield { line, reason: row.reason, row: row.text };
    else if (row.cells.length !== COLUMNS.length) yield { line, reason: whyNotFour(row.cells), row: row.text };
    else yield { line, row: row.text, event: eventOf(row.cells, order.places) };
  }
}

function eventOf(cells, places) {
  return Object.fromEntries(COLUMNS.map((column, place) => [column, cells[places[place]]]));
}

/** The numbered lines of a file, from 1, without their ends; unzipped where it is gzip. */
async function* linesOf(file, onBytes) {
  let rest = new Uint8Array();
  let line = 1;
  for await (const block of blocksOf(file, onBytes)) {
    let start = 0;
    const all = joined(rest, block);
    for (let end = all.indexOf(LINE_END); end >= 0; end = all.indexOf(LINE_END, start)) {
      yield [line, withoutReturn(all.subarray(start, end))];
      line += 1;
      start = end + 1;
    }
    rest = all.slice(start);
    if (rest.length > 64 * LONGEST_LINE_BYTES) throw new NoCsv(`line ${line} does not end: this is no CSV file`);
  }
  if (rest.length) yield [line, withoutReturn(rest)];
}

async function* blocksOf(file, onBytes) {
  const start = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  const begins = (bytes) => bytes.every((byte, place) => start[place] === byte);
  for (const [bytes, reason] of OTHER_FORMATS) if (begins(bytes)) throw new NoCsv(reason);
  let read = 0;
  const counted = new TransformStream({
    transform(block, controller) {
      read += block.byteLength;
      onBytes(read);
      controller.enqueue(block);
    },
  });
  let stream = file.stream().pipeThrough(counted);
  if (begins([0x1f, 0x8b])) stream = stream.pipeThrough(new DecompressionStream("gzip"));
  const reader = stream.getReader();
  let isFirst = true;
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw new NoCsv(`cannot be read to its end (${error.message}). What was sent stays stored: send it again, that is safe`);
    });
    if (done) return;
    const hasMark = isFirst && value[0] === 0xef && value[1] === 0xbb && value[2] === 0xbf;
    isFirst = false;
    yield hasMark ? value.subarray(3) : value;
  }
}

function joined(first, second) {
  if (!first.length) return second;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function withoutReturn(bytes) {
  return bytes.at(-1) === 13 ? bytes.subarray(0, -1) : bytes;
}

function cellsOf(bytes) {
  let text;
  try {
    text = strict.decode(bytes);
  } catch {
    return { text: shown(lenient.decode(bytes)), reason: "is not valid UTF-8" };
  }
  const row = { text: shown(text) };
  if (bytes.length > LONGEST_LINE_BYTES) row.reason = `has ${bytes.length.toLocaleString("en-US")} bytes, more than 65,536`;
  else if (text.includes("\r")) row.reason = "has a carriage return (\\r) inside: end lines by \\n or \\r\\n";
  else if (!text.includes('"')) row.cells = text.split(",");
  else Object.assign(row, splitQuoted(text));
  return row;
}

/** The cells of a line with quotes, or why it has none (RFC 4180, section 2). */
export function splitQuoted(text) {
  const cells = [];
  for (let place = 0; ; ) {
    const quoted = /"((?:[^"]|"")*)"/y;
    quoted.lastIndex = place;
    let cell;
    if (text[place] === '"') {
      const found = quoted.exec(text);
      if (!found) return { reason: "opens a quote that does not close on the same line" };
      cell = found[1].replaceAll('""', '"');
      place = quoted.lastIndex;
      if (place < text.length && text[place] !== ",") {
        return { reason: "has text after a closing quote: double a quote inside quotes" };
      }
    } else {
      const end = text.indexOf(",", place);
      cell = text.slice(place, end < 0 ? text.length : end);
      if (cell.includes('"')) {
        return { reason: "has a quote in a cell that is not quoted: quote the cell and double the quote" };
      }
      place += cell.length;
    }
    cells.push(cell);
    if (place >= text.length) return { cells };
    place += 1;
    if (place === text.length) return { cells: [...cells, ""] };
  }
}

/** Where each column is; from the first row, if that names columns. */
function orderOf(row, line, text) {
  const names = row.map((cell) => cell.trim().toLowerCase());
  const isHeader = names.some((name) => COLUMNS.includes(name));
  // An event may have an id that is the name of a column; a header has no timestamp.
  const isEvent = row.length === COLUMNS.length && TIMESTAMP.test(row[3]);
  if (!isHeader || isEvent) {
    const separator = row.length < 2 && [";", "\t", "|"].find((each) => text.toLowerCase().replaceAll('"', "").split(each).some((cell) => COLUMNS.includes(cell.trim())));
    if (separator) throw new NoCsv(`line ${line}: the columns are separated by ${JSON.stringify(separator)}: separate them by commas`);
    return { isHeader: false, places: [0, 1, 2, 3] };
  }
  const isWhole = names.length === COLUMNS.length && COLUMNS.every((column) => names.includes(column));
  if (!isWhole) throw new NoCsv(`line ${line}: the header is ${shown(text)}; the columns are ${COLUMNS.join(",")}`);
  return { isHeader: true, places: COLUMNS.map((column) => names.indexOf(column)) };
}

function whyNotFour(cells) {
  return `has ${cells.length} column${cells.length === 1 ? "" : "s"}, not 4`;
}

function shown(text) {
  return text.length > LONGEST_ROW_SHOWN ? text.slice(0, LONGEST_ROW_SHOWN) : text;
}
