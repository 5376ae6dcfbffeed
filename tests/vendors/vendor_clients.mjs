// Sends and reads with Metronome's and OpenMeter's JavaScript clients; prints what they return.
// Run by tests/vendors/test_vendor_clients.py: node vendor_clients.mjs FOLDER_OF_NODE_MODULES URL
import { createRequire } from "node:module";

const [folder, url] = process.argv.slice(2);
const load = createRequire(`${folder}/`);
const { default: Metronome } = load("@metronome/sdk");
const { OpenMeter } = load("@openmeter/sdk");
const time = "2021-03-01T00:10:00Z";
const results = {};

const metronome = new Metronome({ bearerToken: "any", baseURL: `${url}/metronome` });
const usage = { customer_id: "acme", event_type: "api_call", timestamp: time };
await metronome.v1.usage.ingest({ usage: [
  { ...usage, transaction_id: "m-1", properties: { tokens: 5 } },
  { ...usage, transaction_id: "m-2" },
] });
const range = { starting_on: "2021-03-01T00:00:00Z", ending_before: "2021-03-02T00:00:00Z" };
results.usage = [];
for await (const row of metronome.v1.usage.list({ ...range, window_size: "HOUR", customer_ids: ["acme"] })) {
  results.usage.push([row.customer_id, row.billable_metric_id, row.start_timestamp, row.value]);
}
results.metronomeRefusal = await metronome.v1.usage.ingest({ usage: [usage] }).then(
  () => 200, (error) => [error.status, error.error.errors[0].field]);

const openmeter = new OpenMeter({ baseUrl: `${url}/openmeter`, apiKey: "any" });
const event = { specversion: "1.0", source: "/app", type: "tokens", subject: "acme", time: new Date(time), data: { tokens: 5 } };
await openmeter.events.ingest({ ...event, id: "o-1" });
await openmeter.events.ingest([{ ...event, id: "o-1" }, { ...event, id: "o-2" }]);
const query = { from: new Date(range.starting_on), to: new Date(range.ending_before), windowSize: "DAY", subject: ["acme"] };
const meter = await openmeter.meters.query("tokens", query);
results.meter = meter.data.map((row) => [row.subject, row.value, new Date(row.windowStart).toISOString()]);
results.openmeterRefusal = await openmeter.events.ingest({ ...event, id: "o-3", source: "a b" }).then(
  () => 204, (error) => error.status);
console.log(JSON.stringify(results));
