// The scale of a day: which instants have a label, by the clocks of a zone. Times are in
// milliseconds since 1970. offsets are those of the zone from an instant on, in their order.

export const minute = 60_000, hour = 60 * minute;

// shortest is the shortest time that the timeline shows.
export const shortest = 5 * minute;

// offsetAt returns the zone's offset from UTC at an instant.
export function offsetAt(offsets, at) {
  let found = offsets[0].offset;
  for (const o of offsets) if (o.from <= at) found = o.offset;
  return found;
}

const two = (n) => String(n).padStart(2, "0");

// clock returns the time of day at an instant, and with zone the offset as well.
export function clock(offsets, at, { seconds = false, zone = false } = {}) {
  const offset = offsetAt(offsets, at), local = new Date(at + offset);
  let text = two(local.getUTCHours()) + ":" + two(local.getUTCMinutes());
  if (seconds) text += ":" + two(local.getUTCSeconds());
  if (zone) {
    const minutes = Math.abs(offset) / minute;
    text += ` (UTC${offset < 0 ? "−" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)})`;
  }
  return text;
}

const steps = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360].map((n) => n * minute);

// stepFor returns the distance of labels of which at most a number fit into a time.
export function stepFor(length, most) {
  return steps.find((step) => length / step <= most) ?? steps[steps.length - 1];
}

// ticks lists the instants from one on and before another at which the local time is a
// multiple of a step. Of an hour that clocks show twice both are listed, and none of one
// that they leave out.
export function ticks(offsets, from, to, step) {
  const list = [];
  offsets.forEach((o, n) => {
    const begin = Math.max(from, n === 0 ? -Infinity : o.from);
    const end = Math.min(to, offsets[n + 1]?.from ?? Infinity);
    for (let local = Math.ceil((begin + o.offset) / step) * step; local - o.offset < end; local += step) list.push(local - o.offset);
  });
  return list;
}

// zoomed returns a view that is zoomed by a factor around an instant, within the day.
export function zoomed(day, view, factor, around) {
  const length = Math.min(day.to - day.from, Math.max(shortest, (view.to - view.from) / factor));
  const part = (around - view.from) / (view.to - view.from);
  return within(day, around - part * length, length);
}

// within returns the view of a length that begins at an instant, moved into the day.
export function within(day, from, length) {
  const begin = Math.min(Math.max(day.from, from), day.to - length);
  return { from: begin, to: begin + length };
}

// recordedAt returns the index of the recording that has an instant, or -1.
export function recordedAt(recordings, at) {
  return recordings.findIndex(([from, to]) => from <= at && at < to);
}

// stepped returns where a step from an instant to another leads. One back into a gap leads to
// the end of what was recorded before: it would end where it began otherwise.
export function stepped(recordings, from, to) {
  if (to >= from || recordedAt(recordings, to) >= 0) return to;
  const [begin, end] = recordings.filter(([, end]) => end <= to).pop() ?? [to, to];
  return end > begin ? Math.max(begin, end - (from - to)) : to;
}

// playableFrom returns the first instant from one on that is recorded, or undefined.
export function playableFrom(recordings, at) {
  for (const [from, to] of recordings) if (to > at) return Math.max(from, at);
  return undefined;
}
