// The buttons that download the view, or copy it as a command.

import { ApiError, getCsv } from "./api.js";
import { byId } from "./dom.js";
import { curlCommand, fileName, pictureOf, save, toPng } from "./download.js";
import { toast } from "./panels.js";
import { isoRange } from "./ranges.js";

/**
 * @param getView Returns what is shown: `{customer, data, layers, picture, options}`. `options` are those
 *   of `bucketParameters`, `picture` is the SVG element of the chart.
 */
export function makeDownloadMenu({ getView }) {
  const nameOf = ({ customer, data }, extension) => fileName(customer, data.range, extension);

  onClick("save-csv", async (view) => {
    const csv = await getCsv(view.customer, isoRange(view.data.range), view.options);
    save(nameOf(view, "csv"), csv, "text/csv");
  });
  onClick("save-svg", (view) => save(nameOf(view, "svg"), pictureOf(view), "image/svg+xml"));
  onClick("save-png", async (view) => save(nameOf(view, "png"), await toPng(pictureOf(view))));
  onClick("copy-curl", async ({ customer, data, options }) => {
    await navigator.clipboard.writeText(curlCommand(customer, isoRange(data.range), options));
    toast("Copied");
  });

  function onClick(id, action) {
    byId(id).addEventListener("click", async () => {
      try {
        await action(getView());
      } catch (error) {
        toast(error instanceof ApiError ? `${error.title}: ${error.detail}` : `That did not work: ${error.message}`);
      }
    });
  }
}
