// A CSV file, plain or gzip, as chunks of whole lines that each fit into one request.

const ROWS_PER_CHUNK = 1_000;
/** Half of what common proxies allow in a request. */
const BYTES_PER_CHUNK = 512 * 1_024;
/** The service rejects lines of more than 64 KiB. A file with longer ones than this is not CSV. */
const MAX_LINE_BYTES = 2 * 1_024 * 1_024;
const NEWLINE = 10;
/** Tab, carriage return, and the characters of `" ,;|`. */
const BLANK = [9, 13, 32, 44, 59, 124];
const GZIP_MAGIC = [0x1f, 0x8b, 8];
const GZIP_HEADER_BYTES = 10;

/**
 * Read a file in constant memory.
 *
 * @param onBytes Called with the number of bytes of the file read so far.
 * @yields `{line, bytes}`: the number of the first line, from 1, and at most 1,000 lines that are not
 *   blank, with their line ends. Chunks of blank lines alone are left out.
 */
export async function* readChunks(file, onBytes) {
  let buffer = new Uint8Array();
  let chunk = { line: 1, end: 0, lines: 0, rows: 0 };
  for await (const block of endedBlocks(file, onBytes)) {
    let newline = buffer.length;
    buffer = joined(buffer, block);
    while ((newline = buffer.indexOf(NEWLINE, newline)) >= 0) {
      const isFull = chunk.rows === ROWS_PER_CHUNK || (newline >= BYTES_PER_CHUNK && chunk.lines > 0);
      if (isFull) {
        if (chunk.rows) yield { line: chunk.line, bytes: buffer.subarray(0, chunk.end) };
        buffer = buffer.slice(chunk.end);
        newline -= chunk.end;
        chunk = { line: chunk.line + chunk.lines, end: 0, lines: 0, rows: 0 };
      }
      if (!isBlank(buffer, chunk.end, newline)) chunk.rows += 1;
      chunk.lines += 1;
      newline += 1;
      chunk.end = newline;
    }
    if (buffer.length - chunk.end > MAX_LINE_BYTES) {
      throw new Error(`line ${chunk.line + chunk.lines} does not end, so this is not CSV`);
    }
  }
  if (chunk.rows) yield { line: chunk.line, bytes: buffer.subarray(0, chunk.end) };
}

export function joined(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** Whether a line has no text: spreadsheets write rows of delimiters alone after the last one. */
function isBlank(bytes, start, end) {
  return bytes.subarray(start, end).every((byte) => BLANK.includes(byte));
}

/** The uncompressed content of a file, and a line end after its last line. */
async function* endedBlocks(file, onBytes) {
  let bytes = 0;
  const counter = () =>
    new TransformStream({
      transform(block, controller) {
        bytes += block.length;
        onBytes(bytes);
        controller.enqueue(block);
      },
    });
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  if (first === GZIP_MAGIC[0] && second === GZIP_MAGIC[1]) {
    for await (const member of gzipMembers(file)) {
      yield* blocksOf(member.stream().pipeThrough(counter()).pipeThrough(new DecompressionStream("gzip")));
    }
  } else yield* blocksOf(file.stream().pipeThrough(counter()));
  yield Uint8Array.of(NEWLINE);
}

/**
 * The members of a gzip file, each as a part of the file: `DecompressionStream` reads only one.
 *
 * Every gzip header starts a member. Compressed data looks like a header by chance about once in 100 GB:
 * the member before it then ends too early, which `DecompressionStream` reports as an error.
 */
async function* gzipMembers(file) {
  let [start, offset, tail] = [0, 0, new Uint8Array()];
  for await (const block of blocksOf(file.stream())) {
    const bytes = joined(tail, block);
    for (let index = bytes.indexOf(GZIP_MAGIC[0]); index >= 0; index = bytes.indexOf(GZIP_MAGIC[0], index + 1)) {
      const at = offset - tail.length + index;
      if (at === start || !isGzipHeader(bytes.subarray(index, index + GZIP_HEADER_BYTES))) continue;
      yield file.slice(start, at);
      start = at;
    }
    offset += block.length;
    tail = bytes.slice(1 - GZIP_HEADER_BYTES);
  }
  yield file.slice(start);
}

/** Magic bytes, known flags, a known compression level and operating system. */
function isGzipHeader(bytes) {
  const [flags, level, system] = [bytes[3], bytes[8], bytes[9]];
  return GZIP_MAGIC.every((byte, index) => bytes[index] === byte) && flags < 0x20 && [0, 2, 4].includes(level) && (system < 14 || system === 255);
}

/** `ReadableStream` can be iterated in some browsers only. */
async function* blocksOf(stream) {
  const reader = stream.getReader();
  for (let block = await reader.read(); !block.done; block = await reader.read()) yield block.value;
}
