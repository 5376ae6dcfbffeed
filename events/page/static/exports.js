// The view as a file, as a picture, as a command.

import { bucketParameters, bucketsPath, key } from "./api.js";
import { svg } from "./dom.js";
import { plural, windowText } from "./format.js";

const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray", "font-family", "font-size", "font-weight"];
const [LEGEND_TOP, LEGEND_LINE, PAD] = [70, 20, 24];
const LONGEST_NAME = 28;
/** As small as a title may become; what is longer still is cut. */
const LEAST_SHARE = 0.75;
const PIXELS_EACH = 2;

export function save(name, content, type) {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** A file's name of an id: what file systems take. */
export function fileName(customer, window, ending) {
  const day = (local) => new Date(local).toISOString().slice(0, 10);
  const safe = customer.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 60) || "customer";
  return `${safe}_${day(window.local.start)}_${day(window.local.end)}.${ending}`;
}

export function curlOf(customer, isoWindow, options) {
  const path = bucketsPath(customer, bucketParameters(isoWindow, options));
  const parts = ["curl", quoted(location.origin + path.replaceAll("'", "%27"))];
  // The key itself stays where it is.
  if (key.get()) parts.push('-H "Authorization: Bearer $EVENTS_API_KEY"');
  return parts.join(" ");
}

function quoted(text) {
  return `'${text}'`;
}

/** The chart as a document of its own, with its title and legend. */
export function pictureOf(chart, { customer, window, total, layers }) {
  const style = getComputedStyle(document.body);
  const width = Number(chart.getAttribute("width")) + 2 * PAD;
  const names = legend(layers, style, width);
  const head = LEGEND_TOP + LEGEND_LINE * names.lines;
  const height = Number(chart.getAttribute("height")) + head + PAD;
  const text = (x, y, size, content, attributes = {}) =>
    svg("text", { x, y, "font-size": size, "font-family": style.fontFamily, fill: style.color, ...attributes }, content);
  const fitted = (y, size, content, weight) => {
    const share = (width - 2 * PAD) / widthOf(content, `${weight} ${size}px ${style.fontFamily}`);
    const characters = [...content];
    const shown = share < LEAST_SHARE ? `${characters.slice(0, Math.floor((characters.length * share) / LEAST_SHARE) - 2).join("")}…` : content;
    return text(PAD, y, size * Math.min(1, Math.max(share, LEAST_SHARE)), shown, { "font-weight": weight });
  };
  const inner = copied(chart);
  const picture = svg(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` },
    svg("title", {}, `Events of ${customer}`),
    svg("rect", { width, height, fill: style.backgroundColor }),
    fitted(36, 17, customer, 600),
    fitted(58, 13, `${plural(total, "event")}, ${windowText(window)}, ${window.zone}`, 400),
    ...names.parts(text),
    svg("g", { transform: `translate(${PAD} ${head})` }, ...inner.childNodes),
  );
  return new XMLSerializer().serializeToString(picture);
}

function widthOf(text, font) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = font;
  return pen.measureText(text).width;
}

/** The names of the layers, on as many lines as they need. */
function legend(layers, style, width) {
  const places = [];
  let [x, line] = [PAD, 0];
  for (const { name, tone, isTotal } of layers) {
    if (isTotal) continue;
    const short = name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name;
    const long = 15 + widthOf(short, `12px ${style.fontFamily}`);
    if (x > PAD && x + long > width - PAD) [x, line] = [PAD, line + 1];
    places.push({ x, y: LEGEND_TOP + line * LEGEND_LINE, short, fill: style.getPropertyValue(`--tone-${tone}`).trim() });
    x += long + 18;
  }
  return {
    lines: places.length ? line + 1 : 0,
    parts: (text) =>
      places.flatMap(({ x: left, y, short, fill }) => [
        svg("rect", { x: left, y, width: 10, height: 10, rx: 2, fill }),
        text(left + 15, y + 9, 12, short),
      ]),
  };
}

/** A copy whose look does not need the style sheet of the page. */
function copied(chart) {
  const copy = chart.cloneNode(true);
  const [originals, copies] = [chart, copy].map((each) => [each, ...each.querySelectorAll("*")]);
  originals.forEach((original, place) => {
    const looks = getComputedStyle(original);
    for (const name of DRAWN) {
      const value = original.getAttribute(name)?.startsWith("url(") ? original.getAttribute(name) : looks.getPropertyValue(name);
      if (value) copies[place].setAttribute(name, value);
    }
    copies[place].removeAttribute("class");
  });
  copy.querySelectorAll('[visibility="hidden"]').forEach((each) => each.remove());
  return copy;
}

export async function toPng(picture) {
  const address = URL.createObjectURL(new Blob([picture], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width * PIXELS_EACH;
    canvas.height = image.height * PIXELS_EACH;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(address);
  }
}
