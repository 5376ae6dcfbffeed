// The panel of an upload: the file that was chosen or dropped, its progress, and the rejected rows.

import { byId, h, show } from "./dom.js";
import { save, toCsv } from "./download.js";
import { count, plural, sentence } from "./format.js";
import { toast } from "./panels.js";
import { newProgress, sendFile } from "./upload.js";
import { fillZoneNames } from "./zonefield.js";

const MAX_REJECTED_ROWS = 100;
const SAFE_TO_REPEAT = "Rows that were stored stay stored. It is safe to add the whole file again.";

/**
 * @param waitForKey As for `sendFile`.
 * @param onDone Called when the upload ended, successful or not.
 * @param choose Called with a customer ID of the file to show.
 */
export function makeUploadPanel({ waitForKey, onDone, choose }) {
  /** Aborts the upload under way; null if there is none. */
  let upload = null;
  let file = null;
  let fileName = "";
  let rows = 0;
  let rejected = [];

  function drawProgress(progress, size) {
    byId("upload-progress").value = size ? Math.min(progress.bytes / size, 1) : 1;
    for (const status of ["inserted", "duplicates", "voided", "accepted"]) {
      byId(`upload-${status}`).textContent = count(progress[status]);
      // A service that writes to Kafka only knows that events are accepted, others never say that.
      const isPossible = (progress.accepted > 0) === (status === "accepted");
      show(byId(`upload-${status}`).parentElement, isPossible || progress[status] > 0);
    }
    byId("upload-rejected").textContent = count(progress.rejected.length);
    ({ rows, rejected } = progress);
    const problem = progress.hasAnswer ? "The service is busy." : "The service is not responding.";
    if (progress.waitSeconds) setStatus(`${problem} Retrying in ${Math.ceil(progress.waitSeconds)} s.`);
    else setStatus(`${plural(progress.rows, "row")} sent`);
  }

  function setStatus(text) {
    byId("upload-state").textContent = text;
  }

  function drawDone(progress) {
    const stored = progress.inserted + progress.duplicates + progress.voided;
    const accepted = progress.accepted ? `${plural(progress.accepted, "row")} accepted` : `${plural(stored, "row")} stored`;
    const later = progress.accepted ? " Accepted rows are counted a little later." : "";
    const retried =
      progress.retries && !progress.accepted
        ? " Some rows were sent again after a missing response: those stored the first time are counted as duplicates here."
        : "";
    byId("upload-title").textContent = `Added ${fileName}`;
    if (progress.rows) setStatus(`Done: ${accepted}, ${count(progress.rejected.length)} rejected.${later}${retried}`);
    else setStatus("Done: the file has no rows.");
    const chip = (id) => h("button", { type: "button", class: "chip", onclick: () => choose(id) }, h("span", { class: "name" }, `Show ${id}`));
    byId("upload-customers").replaceChildren(...[...progress.customers].map(chip));
  }

  function drawRejected() {
    show(byId("rejects"), rejected.length > 0);
    byId("rejects-body").replaceChildren(
      ...rejected.slice(0, MAX_REJECTED_ROWS).map(({ line, reason, row }) =>
        h("tr", {}, h("th", { scope: "row", class: "number" }, count(line)), h("td", {}, reason), h("td", { class: "raw" }, row)),
      ),
    );
    const all = rejected.length > MAX_REJECTED_ROWS ? `all ${count(rejected.length)} ` : "";
    byId("save-rejects").textContent = `Download ${all}rejected rows`;
  }

  /** Upload one file at a time, and say so if there are more. */
  function take(files) {
    if (!files.length) return;
    if (upload) {
      toast(`Still adding ${fileName}. Add the next file when it is done.`);
      return;
    }
    if (files.length > 1) toast("Only the first file is added: add files one at a time.");
    [file] = files;
    byId("upload-options").reset();
    start({});
  }

  async function start(options) {
    upload = new AbortController();
    addEventListener("beforeunload", confirmLeaving);
    fileName = file.name;
    byId("upload-title").textContent = `Adding ${fileName}`;
    byId("upload-customers").replaceChildren();
    drawProgress(newProgress(), file.size);
    drawRejected();
    show(byId("upload-options"), false);
    byId("upload-stop").textContent = "Stop";
    show(byId("upload"), true);
    byId("upload").scrollIntoView({ block: "nearest" });
    byId("upload").setAttribute("aria-busy", "true");
    try {
      const onChange = (progress) => drawProgress(progress, file.size);
      drawDone(await sendFile(file, { options, signal: upload.signal, onChange, waitForKey }));
    } catch (error) {
      byId("upload-title").textContent = `Adding ${fileName} ${error.name === "AbortError" ? "was stopped" : "failed"}`;
      setStatus(errorText(error, rows));
    } finally {
      upload = null;
      removeEventListener("beforeunload", confirmLeaving);
      byId("upload").removeAttribute("aria-busy");
      byId("upload-stop").textContent = "Close";
      drawRejected();
      // Rows that could not be read, or a file without the columns: options may help.
      show(byId("upload-options"), rejected.length > 0 || rows === 0);
      fillZoneNames();
      onDone();
    }
  }

  byId("upload-stop").addEventListener("click", () => {
    if (upload) upload.abort(new DOMException("stopped", "AbortError"));
    else {
      show(byId("upload"), false);
      byId("add-events").focus();
    }
  });
  byId("upload-options").addEventListener("submit", (event) => {
    event.preventDefault();
    const given = [...new FormData(event.target)].map(([name, value]) => [name, value.trim()]);
    start(Object.fromEntries(given.filter(([, value]) => value)));
  });
  byId("save-rejects").addEventListener("click", () => {
    const rows = rejected.map(({ line, reason, row }) => [line, reason, row]);
    save(`${fileName}.rejects.csv`, toCsv([["line", "reason", "row"], ...rows]), "text/csv");
  });
  byId("add-events").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = "";
  });
  acceptDrops(take);
}

/** Accept files that are dropped anywhere on the page. */
function acceptDrops(take) {
  const onFiles = (type, action) =>
    addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      action(event);
    });
  onFiles("dragover", () => show(byId("drop"), true));
  onFiles("drop", (event) => {
    show(byId("drop"), false);
    take([...event.dataTransfer.files]);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && show(byId("drop"), false));
}

/** The browser asks the reader before leaving the page would stop the upload. */
function confirmLeaving(event) {
  event.preventDefault();
}

function errorText(error, rows) {
  if (error.name === "AbortError") return SAFE_TO_REPEAT;
  if (error.status === 400 && rows === 0) return `The service refused the file: ${error.errors[0]?.detail ?? error.detail}.`;
  const { title = "Cannot read the file", detail = error.message } = error;
  return `${title}: ${sentence(detail)} ${SAFE_TO_REPEAT}`;
}
