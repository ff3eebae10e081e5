// The timeline of a day: a slider that shows what is recorded.
import { clock, minute, recordedAt, stepFor, stepped, ticks, within, zoomed } from "./scale.js";
import { t } from "./words.js";

const svg = (name, attributes = {}, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
};

// Timeline draws a day into an element with the role slider. seek is called with the
// instant that somebody chose.
export class Timeline {
  constructor(element, day, seek) {
    Object.assign(this, { element, day, seek, view: { from: day.from, to: day.to }, at: day.at, now: day.now, pointers: new Map() });
    this.svg = element.appendChild(svg("svg", { "aria-hidden": "true" }));
    element.setAttribute("aria-valuemin", "0");
    element.setAttribute("aria-valuemax", String(Math.round((day.to - day.from) / 1000)));
    new ResizeObserver(() => this.draw()).observe(element);
    element.addEventListener("keydown", (event) => this.key(event));
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    element.addEventListener("pointerdown", (event) => this.down(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    element.addEventListener("pointerup", (event) => this.up(event));
    element.addEventListener("pointercancel", (event) => { this.pointers.delete(event.pointerId); this.dragged = undefined; this.draw(); });
    this.draw();
  }

  get width() { return Math.max(1, this.element.clientWidth); }
  x(at) { return ((at - this.view.from) / (this.view.to - this.view.from)) * this.width; }
  time(x) { return this.view.from + ((x - this.element.getBoundingClientRect().left - 1) / this.width) * (this.view.to - this.view.from); }

  // show moves the head, and the view with it if it would leave it.
  show(at, now = this.now) {
    this.at = at;
    this.now = now;
    const length = this.view.to - this.view.from;
    if (this.dragged === undefined && (at < this.view.from || at >= this.view.to)) this.view = within(this.day, at - length / 10, length);
    this.draw();
  }

  zoom(factor, around = this.at >= this.view.from && this.at < this.view.to ? this.at : (this.view.from + this.view.to) / 2) {
    this.view = zoomed(this.day, this.view, factor, around);
    this.draw();
  }

  choose(at) {
    const chosen = Math.min(Math.max(this.day.from, at), this.day.to - 1000);
    this.show(chosen);
    this.seek(chosen);
  }

  // step goes on or back by a time.
  step(time) {
    this.choose(stepped(this.day.recordings, this.at, this.at + time));
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const last = this.day.recordings.at(-1), arrow = event.shiftKey ? minute : 10_000;
    const by = { ArrowLeft: -arrow, ArrowDown: -arrow, ArrowRight: arrow, ArrowUp: arrow, PageUp: 10 * minute, PageDown: -10 * minute }[event.key];
    const to = { Home: this.day.recordings[0]?.[0], End: last && Math.max(last[0], last[1] - 10_000) }[event.key];
    if (by !== undefined) this.step(by);
    else if (to !== undefined) this.choose(to);
    else if (event.key === "+" || event.key === "=") this.zoom(2);
    else if (event.key === "-") this.zoom(0.5);
    else return;
    event.preventDefault();
  }

  wheel(event) {
    event.preventDefault();
    const length = this.view.to - this.view.from;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      this.view = within(this.day, this.view.from + ((event.deltaX || event.deltaY) / this.width) * length, length);
      this.draw();
    } else this.zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 100), this.time(event.clientX));
  }

  down(event) {
    if (event.button > 0) return;
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event.clientX);
    this.dragged = this.pointers.size === 1 ? this.time(event.clientX) : undefined;
    this.draw();
  }

  move(event) {
    if (!this.pointers.has(event.pointerId)) return;
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const before = this.pointers.get(event.pointerId);
      const around = this.time((before + other) / 2);
      const factor = Math.max(4, Math.abs(event.clientX - other)) / Math.max(4, Math.abs(before - other));
      this.view = zoomed(this.day, this.view, factor, around);
      const length = this.view.to - this.view.from;
      this.view = within(this.day, this.view.from - ((event.clientX - before) / 2 / this.width) * length, length);
    } else if (this.dragged !== undefined) this.dragged = this.time(event.clientX);
    this.pointers.set(event.pointerId, event.clientX);
    this.draw();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    const chosen = this.dragged;
    this.dragged = undefined;
    if (chosen !== undefined) this.choose(chosen);
  }

  // words says what is at an instant.
  words(at) {
    const { offsets, recordings, allowed } = this.day;
    const time = clock(offsets, at, { seconds: true, zone: offsets.length > 1 });
    if (recordedAt(recordings, at) >= 0) return t("playback.value.recorded", { time });
    return t(at < allowed[0] || at >= allowed[1] ? "playback.value.closed" : "playback.value.gap", { time });
  }

  draw() {
    const { day, view, width } = this, at = this.dragged ?? this.at, height = 88, lane = { y: 32, height: 36 };
    const parts = [];
    const box = (from, to, name, title) => {
      const left = Math.max(-1, this.x(from)), right = Math.min(width + 1, this.x(to));
      if (right <= left) return;
      const rect = svg("rect", { class: name, x: left, y: lane.y, width: Math.max(1, right - left), height: lane.height });
      if (title) rect.append(svg("title", {}, title));
      parts.push(rect);
    };
    box(day.from, day.to, "closed");
    if (day.allowed[1] > day.allowed[0]) box(day.allowed[0], day.allowed[1], "allowed");
    for (const [from, to] of day.recordings) if (to > view.from && from < view.to) box(from, to, "recorded");
    const step = stepFor(view.to - view.from, Math.max(2, width / 64));
    for (const tick of ticks(day.offsets, view.from, view.to, step)) {
      const x = this.x(tick);
      parts.push(svg("line", { class: "tick", x1: x, x2: x, y1: 22, y2: height }));
      if (x > 16 && x < width - 16) parts.push(svg("text", { class: "label", x, y: 16, "text-anchor": "middle" }, clock(day.offsets, tick)));
    }
    for (const alarm of day.alarms) {
      if (alarm.at < view.from || alarm.at >= view.to) continue;
      const x = this.x(alarm.at), mark = svg("path", { class: "alarm", d: `M${x - 4} 82h8l-4-8z` });
      mark.append(svg("title", {}, alarm.text));
      parts.push(mark);
    }
    const bar = (instant, name) => parts.push(svg("line", { class: name, x1: this.x(instant), x2: this.x(instant), y1: 20, y2: height }));
    if (this.now >= view.from && this.now < view.to) bar(this.now, "now");
    bar(at, "head");
    parts.push(svg("path", { class: "knob", d: `M${this.x(at) - 6} 20h12l-6 9z` }));
    this.svg.replaceChildren(...parts);
    this.element.setAttribute("aria-valuenow", String(Math.round((at - day.from) / 1000)));
    this.element.setAttribute("aria-valuetext", this.words(at));
  }
}
