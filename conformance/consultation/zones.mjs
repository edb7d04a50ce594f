// Clocks on walls, by the zone database that Node brings.

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** Minutes that clocks in a zone are ahead of UTC. */
export function offsetAt(zone, instant) {
  const at = new Date(instant);
  const parts = new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" }).formatToParts(at);
  const text = parts.find(({ type }) => type === "timeZoneName").value;
  const [, sign, hours, minutes] = /GMT(?:([+-])(\d\d):(\d\d))?/.exec(text);
  return sign ? (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) : 0;
}

/** What a clock in the zone shows, as 09:30. */
export function wallTime(zone, instant) {
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", hour12: false });
  return format.format(new Date(instant));
}

/** When clocks in the zone change next after an instant, within a year; to the minute. */
export function nextChange(zone, after) {
  const from = Math.ceil(after / MINUTE) * MINUTE;
  const before = offsetAt(zone, from);
  let day = 1;
  while (day < 367 && offsetAt(zone, from + day * DAY) === before) day += 1;
  if (day === 367) return undefined;
  let [low, high] = [from + (day - 1) * DAY, from + day * DAY];
  while (high - low > MINUTE) {
    const middle = low + Math.floor((high - low) / 2 / MINUTE) * MINUTE;
    if (middle === low) break;
    if (offsetAt(zone, middle) === before) low = middle;
    else high = middle;
  }
  return high;
}
