// A file's way in, chosen or dropped, and its panel: progress, receipts, rejected rows.

import { ApiError } from "./api.js";
import { NoCsv, toCsv } from "./csv.js";
import { byId, h, show } from "./dom.js";
import { save } from "./exports.js";
import { sentence, toast } from "./faces.js";
import { count, plural } from "./format.js";
import { sendFile } from "./upload.js";

const MOST_REJECTS_SHOWN = 100;

/**
 * @param needKey As for `sendFile`.
 * @param onDone Called when a file was sent, as far as it went.
 * @param choose Called with a customer of the file to look at.
 */
export function makeUpload({ needKey, onDone, choose }) {
  let stop = null;
  let rejected = [];
  let name = "";

  function tell(receipts, size) {
    byId("upload-progress").value = size ? Math.min(receipts.bytes / size, 1) : 1;
    for (const kind of ["inserted", "duplicates", "voided", "accepted"]) {
      byId(`upload-${kind}`).textContent = count(receipts[kind]);
      // What a service that hands events to Kafka cannot say yet is left out.
      show(byId(`upload-${kind}`).parentElement, receipts[kind] > 0 || (receipts.accepted > 0) === (kind === "accepted"));
    }
    byId("upload-rejected").textContent = count(receipts.rejected.length);
    rejected = receipts.rejected;
    const why = receipts.isAsked ? "The service asks to wait." : "The service does not answer.";
    if (receipts.waitSeconds) say(`${why} Sending the same again in ${Math.ceil(receipts.waitSeconds)} s.`);
    else say(`${plural(receipts.read, "row")} read`);
  }

  function say(text) {
    byId("upload-state").textContent = text;
  }

  function finish(receipts) {
    const handled = receipts.inserted + receipts.duplicates + receipts.voided;
    const taken = receipts.accepted ? `${plural(receipts.accepted, "row")} accepted` : `${plural(handled, "row")} stored or known`;
    const later = receipts.accepted ? " What is accepted is counted a little later." : "";
    const again = receipts.again && !receipts.accepted ? " Some were sent again after no answer; what was stored the first time counts as a duplicate." : "";
    byId("upload-title").textContent = `Added ${name}`;
    if (receipts.read) say(`Done: ${taken}, ${count(receipts.rejected.length)} rejected.${later}${again}`);
    else say("Done: this file has no rows.");
    byId("upload-customers").replaceChildren(
      ...[...receipts.customers].map((id) => h("button", { type: "button", class: "chip", onclick: () => choose(id) }, h("span", { class: "name" }, `Show ${id}`))),
    );
  }

  function showRejects() {
    show(byId("rejects"), rejected.length > 0);
    byId("rejects-body").replaceChildren(
      ...rejected.slice(0, MOST_REJECTS_SHOWN).map(({ line, reason, row }) =>
        h("tr", {}, h("th", { scope: "row", class: "number" }, count(line)), h("td", {}, reason), h("td", { class: "raw" }, row)),
      ),
    );
    const more = rejected.length > MOST_REJECTS_SHOWN ? ` (all ${count(rejected.length)})` : "";
    byId("save-rejects").textContent = `Save rejected rows${more}`;
  }

  /** One at a time; none is left out without a word. */
  function take(files) {
    if (!files.length) return;
    if (stop) toast(`${name} is still being added: add the next file after it.`);
    else {
      if (files.length > 1) toast("One file at a time: only the first is being added.");
      start(files[0]);
    }
  }

  async function start(file) {
    stop = new AbortController();
    window.addEventListener("beforeunload", askToStay);
    name = file.name;
    rejected = [];
    byId("upload-title").textContent = `Adding ${file.name}`;
    byId("upload-customers").replaceChildren();
    showRejects();
    byId("upload-stop").textContent = "Stop";
    show(byId("upload"), true);
    byId("upload").scrollIntoView({ block: "nearest" });
    byId("upload").setAttribute("aria-busy", "true");
    try {
      const onChange = (receipts) => tell(receipts, file.size);
      tell({ bytes: 0, read: 0, inserted: 0, duplicates: 0, voided: 0, accepted: 0, rejected: [], waitSeconds: 0 }, file.size);
      finish(await sendFile(file, { signal: stop.signal, onChange, needKey }));
    } catch (error) {
      say(why(error));
    } finally {
      stop = null;
      window.removeEventListener("beforeunload", askToStay);
      byId("upload").removeAttribute("aria-busy");
      byId("upload-stop").textContent = "Close";
      showRejects();
      onDone();
    }
  }

  byId("upload-stop").addEventListener("click", () => {
    if (stop) stop.abort(new DOMException("stopped", "AbortError"));
    else {
      show(byId("upload"), false);
      byId("add-events").focus();
    }
  });
  byId("save-rejects").addEventListener("click", () => {
    const rows = rejected.map(({ line, reason, row }) => [line, reason, row]);
    save(`${name}.rejects.csv`, toCsv([["line", "reason", "row"], ...rows]), "text/csv");
  });
  byId("add-events").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", ({ target }) => {
    take([...target.files]);
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
    take([...event.dataTransfer.files]);
  });
}

const SAFE = "What was stored stays stored: sending the whole file again is safe.";

/** Leaving would stop the file. */
function askToStay(event) {
  event.preventDefault();
}

function why(error) {
  if (error.name === "AbortError") return `Stopped. ${SAFE}`;
  if (error instanceof NoCsv) return `This file ${error.message}.`;
  if (error instanceof ApiError) return `${error.title}: ${sentence(error.detail)} ${SAFE}`;
  return `The file cannot be read: ${error.message}. ${SAFE}`;
}
