// The buttons that take the view away.

import { ApiError, getCsv } from "./api.js";
import { byId } from "./dom.js";
import { curlOf, fileName, pictureOf, save, toPng } from "./exports.js";
import { toast } from "./faces.js";
import { isoOf } from "./series.js";

/**
 * @param shown Gives what is shown: `{customer, chart, layers, asked}`; `chart` as `loadChart` gives
 *   it, `asked` what the buckets route is to be asked for it.
 * @param picture Gives the drawing.
 */
export function makeTakeaway({ shown, picture }) {
  const drawing = () => {
    const { customer, chart, layers } = shown();
    return pictureOf(picture(), { customer, window: chart.window, total: chart.total, layers });
  };
  const named = (ending) => fileName(shown().customer, shown().chart.window, ending);
  const csv = () => {
    const { customer, chart, asked } = shown();
    return getCsv(customer, isoOf(chart.window), asked);
  };

  on("save-csv", async () => save(named("csv"), await csv(), "text/csv"));
  on("save-svg", () => save(named("svg"), drawing(), "image/svg+xml"));
  on("save-png", async () => save(named("png"), await toPng(drawing())));
  on("copy-curl", async () => {
    const { customer, chart, asked } = shown();
    await navigator.clipboard.writeText(curlOf(customer, isoOf(chart.window), asked));
    toast("Copied");
  });
}

/** A failed download says so and leaves the view as it is. */
function on(id, act) {
  byId(id).addEventListener("click", async () => {
    try {
      await act();
    } catch (error) {
      toast(error instanceof ApiError ? `${error.title}: ${error.detail}` : `That did not work: ${error.message}`);
    }
  });
}
