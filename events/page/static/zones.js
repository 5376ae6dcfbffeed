// Conversion between instants and the local times of a time zone. Only for what the reader enters and
// for where a range starts: the API does all counting by day, week and month.

const DAY = 86_400_000;
const NAME = /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+){0,2}$/;
const FIELDS = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const formatters = new Map();

/** The time zone of this browser. */
export function browserZone() {
  const name = new Intl.DateTimeFormat().resolvedOptions().timeZone;
  return name && isZone(name) && canonical(name) !== "UTC" ? name : "UTC";
}

export function isZone(name) {
  if (!NAME.test(name)) return false;
  try {
    formatterOf(name);
    return true;
  } catch {
    return false;
  }
}

/** A zone's name in the case that the service accepts; browsers accept any case. */
export function properName(name) {
  const same = [canonical(name), ...zoneNames()].find((other) => other.toLowerCase() === name.toLowerCase());
  return same ?? (name === name.toLowerCase() ? canonical(name) : name);
}

export function zoneNames() {
  return Intl.supportedValuesOf("timeZone");
}

function canonical(name) {
  return formatterOf(name).resolvedOptions().timeZone;
}

/** The local time at an instant, as a number that reads as UTC. */
export function toLocal(at, zone) {
  if (zone === "UTC") return at;
  const parts = Object.fromEntries(formatterOf(zone).formatToParts(at).map(({ type, value }) => [type, value]));
  const { year, month, day, hour, minute, second } = parts;
  const seconds = Date.parse(`${year.padStart(4, "0")}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return seconds + (((at % 1_000) + 1_000) % 1_000);
}

/**
 * The instant of a local time.
 *
 * The first of two if the local time occurs twice. If clocks skip it, the instant it would be had
 * they not been moved.
 */
export function fromLocal(local, zone) {
  if (zone === "UTC") return local;
  const offset = (at) => toLocal(at, zone) - at;
  const [early, late] = [local - offset(local - DAY), local - offset(local + DAY)];
  return [early, late].find((at) => toLocal(at, zone) === local) ?? early;
}

function formatterOf(zone) {
  if (!formatters.has(zone)) formatters.set(zone, new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...FIELDS }));
  return formatters.get(zone);
}
