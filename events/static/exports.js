// The view as a file, as a picture, as a command.

import { bucketParameters, bucketsPath, key } from "./api.js";
import { svg } from "./dom.js";
import { count, windowText } from "./format.js";

const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "font-family", "font-size", "font-weight"];
const [HEAD, PAD] = [92, 24];
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
  const day = (at) => new Date(at).toISOString().slice(0, 10);
  const safe = customer.replace(/[^A-Za-z0-9._-]+/g, "_").slice(0, 60) || "customer";
  return `${safe}_${day(window.start)}_${day(window.end)}.${ending}`;
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
  const height = Number(chart.getAttribute("height")) + HEAD + PAD;
  const text = (x, y, size, content, attributes = {}) =>
    svg("text", { x, y, "font-size": size, "font-family": style.fontFamily, fill: style.color, ...attributes }, content);
  const inner = copied(chart);
  const picture = svg(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}` },
    svg("title", {}, `Events of ${customer}`),
    svg("rect", { width, height, fill: style.backgroundColor }),
    text(PAD, 36, 17, customer, { "font-weight": 600 }),
    text(PAD, 58, 13, `${count(total)} events, ${windowText(window)}, UTC`),
    ...legend(layers, style, text),
    svg("g", { transform: `translate(${PAD} ${HEAD})` }, ...inner.childNodes),
  );
  return new XMLSerializer().serializeToString(picture);
}

function legend(layers, style, text) {
  if (layers.every((layer) => layer.isTotal)) return [];
  let x = PAD;
  return layers.flatMap((layer) => {
    const at = x;
    const name = layer.name.length > 28 ? `${layer.name.slice(0, 27)}…` : layer.name;
    x += 30 + 7 * name.length;
    const fill = style.getPropertyValue(`--tone-${layer.tone}`).trim();
    return [svg("rect", { x: at, y: 70, width: 10, height: 10, rx: 2, fill }), text(at + 15, 79, 12, name)];
  });
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
