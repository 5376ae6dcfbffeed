// The clocks of a zone, for what is typed and for where a range begins; what is counted is the API's.

const DAY = 86_400_000;
const NAME = /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+){0,2}$/;
const SHOWN = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const clocks = new Map();

/** The zone of this browser. */
export function ownZone() {
  const name = new Intl.DateTimeFormat().resolvedOptions().timeZone;
  return name && isZone(name) && canonical(name) !== "UTC" ? name : "UTC";
}

export function isZone(name) {
  if (!NAME.test(name)) return false;
  try {
    clockOf(name);
    return true;
  } catch {
    return false;
  }
}

/** A zone's name as the service takes it: browsers take any case. */
export function spelled(name) {
  const same = [canonical(name), ...zoneNames()].find((each) => each.toLowerCase() === name.toLowerCase());
  return same ?? (name === name.toLowerCase() ? canonical(name) : name);
}

export function zoneNames() {
  return Intl.supportedValuesOf("timeZone");
}

function canonical(name) {
  return clockOf(name).resolvedOptions().timeZone;
}

/** What the clocks of a zone show at an instant, as if it were UTC. */
export function toLocal(at, zone) {
  if (zone === "UTC") return at;
  const shown = Object.fromEntries(clockOf(zone).formatToParts(at).map(({ type, value }) => [type, value]));
  const { year, month, day, hour, minute, second } = shown;
  const whole = Date.parse(`${year.padStart(4, "0")}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return whole + (((at % 1_000) + 1_000) % 1_000);
}

/**
 * The instant at which the clocks of a zone show this.
 *
 * A time that comes twice is its first one; for one that is left out, the instant at which it
 * would have been, had the clocks not been set.
 */
export function fromLocal(local, zone) {
  if (zone === "UTC") return local;
  const offset = (at) => toLocal(at, zone) - at;
  const [early, late] = [local - offset(local - DAY), local - offset(local + DAY)];
  return [early, late].find((at) => toLocal(at, zone) === local) ?? early;
}

function clockOf(zone) {
  if (!clocks.has(zone)) clocks.set(zone, new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...SHOWN }));
  return clocks.get(zone);
}
