// The view as a file, as a picture, and as a command.

import { bucketParameters, bucketsPath, key } from "./api.js";
import { svg } from "./dom.js";
import { plural, rangeText } from "./format.js";

/** The properties that a copied chart takes from the page's style sheet. */
const COPIED = ["fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray", "font-family", "font-size", "font-weight"];
const [LEGEND_TOP, LEGEND_LINE, PADDING] = [70, 20, 24];
const MAX_NAME_CHARACTERS = 28;
/** How far a title shrinks to fit; a longer one is cut. */
const MIN_TITLE_SCALE = 0.75;
const PNG_SCALE = 2;

export function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A file name that every file system accepts. */
export function fileName(customer, range, extension) {
  const day = (local) => new Date(local).toISOString().slice(0, 10);
  const name = customer.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 60) || "customer";
  return `${name}_${day(range.local.start)}_${day(range.local.end)}.${extension}`;
}

/** Rows as CSV text. */
export function toCsv(rows) {
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** The curl command that gives the counts of the chart. It names the key's variable, not the key. */
export function curlCommand(customer, isoRange, options) {
  const path = bucketsPath(customer, bucketParameters(isoRange, options));
  const command = `curl '${location.origin}${path.replaceAll("'", "%27")}'`;
  return key.get() ? `${command} -H "Authorization: Bearer $EVENTS_API_KEY"` : command;
}

/** The chart as an SVG document of its own, with a title and a legend. */
export function pictureOf({ customer, data: { range, total }, layers, picture: chart }) {
  const style = getComputedStyle(document.body);
  const width = Number(chart.getAttribute("width")) + 2 * PADDING;
  const legend = makeLegend(layers, style, width);
  const headHeight = LEGEND_TOP + LEGEND_LINE * legend.lines;
  const height = Number(chart.getAttribute("height")) + headHeight + PADDING;
  const text = (x, y, size, content, attributes = {}) =>
    svg("text", { x, y, "font-size": size, "font-family": style.fontFamily, fill: style.color, ...attributes }, content);
  const title = (y, size, content, weight) => {
    const scale = (width - 2 * PADDING) / widthOf(content, `${weight} ${size}px ${style.fontFamily}`);
    const characters = [...content];
    const fitting = Math.floor((characters.length * scale) / MIN_TITLE_SCALE) - 2;
    const shown = scale < MIN_TITLE_SCALE ? `${characters.slice(0, fitting).join("")}…` : content;
    return text(PADDING, y, size * Math.min(1, Math.max(scale, MIN_TITLE_SCALE)), shown, { "font-weight": weight });
  };
  const picture = svg(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` },
    svg("title", {}, `Events of ${customer}`),
    svg("rect", { width, height, fill: style.backgroundColor }),
    title(36, 17, customer, 600),
    title(58, 13, `${plural(total, "event")}, ${rangeText(range)}, ${range.zone}`, 400),
    ...legend.draw(text),
    svg("g", { transform: `translate(${PADDING} ${headHeight})` }, ...copyWithStyle(chart).childNodes),
  );
  return new XMLSerializer().serializeToString(picture);
}

function widthOf(text, font) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = font;
  return context.measureText(text).width;
}

/** The names of the layers, on as many lines as they need. */
function makeLegend(layers, style, width) {
  const entries = [];
  let [x, line] = [PADDING, 0];
  for (const { name, tone, isTotal } of layers) {
    if (isTotal) continue;
    const label = name.length > MAX_NAME_CHARACTERS ? `${name.slice(0, MAX_NAME_CHARACTERS - 1)}…` : name;
    const entryWidth = 15 + widthOf(label, `12px ${style.fontFamily}`);
    if (x > PADDING && x + entryWidth > width - PADDING) [x, line] = [PADDING, line + 1];
    entries.push({ x, y: LEGEND_TOP + line * LEGEND_LINE, label, fill: style.getPropertyValue(`--tone-${tone}`).trim() });
    x += entryWidth + 18;
  }
  return {
    lines: entries.length ? line + 1 : 0,
    draw: (text) =>
      entries.flatMap(({ x: left, y, label, fill }) => [
        svg("rect", { x: left, y, width: 10, height: 10, rx: 2, fill }),
        text(left + 15, y + 9, 12, label),
      ]),
  };
}

/** A copy of the chart that looks the same without the page's style sheet. */
function copyWithStyle(chart) {
  const copy = chart.cloneNode(true);
  const [originals, copies] = [chart, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  originals.forEach((original, index) => {
    const style = getComputedStyle(original);
    for (const name of COPIED) {
      const isReference = original.getAttribute(name)?.startsWith("url(");
      const value = isReference ? original.getAttribute(name) : style.getPropertyValue(name);
      if (value) copies[index].setAttribute(name, value);
    }
    copies[index].removeAttribute("class");
  });
  copy.querySelectorAll('[visibility="hidden"]').forEach((element) => element.remove());
  return copy;
}

export async function toPng(picture) {
  const url = URL.createObjectURL(new Blob([picture], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width * PNG_SCALE;
    canvas.height = image.height * PNG_SCALE;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}
