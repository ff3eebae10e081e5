// What a recording is shown with: a connection that brings fragments of MP4, and the video
// that plays them. It says on the way what each picture shows.
import { Refusal, get, socket } from "./api.js";

const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

// supported reports whether the browser can play recordings at all.
export const supported = Boolean(Source);

const ahead = 30, behind = 20; // seconds that are kept

// Reel plays recordings in a video. told is called with what happens: {start}, {end}, {sound},
// whether there is any, {mime}
// that cannot be played, {skipped} with two instants, and {closed}, with a refusal or whether
// it still is allowed. path is of the operation that plays, check of the one that says so.
export class Reel {
  constructor(video, path, check, told) {
    Object.assign(this, { video, path, check, told, queue: [], marks: [], speed: 1, held: false, paused: false });
    video.disableRemotePlayback = true;
    video.addEventListener("timeupdate", () => this.tidy());
    video.addEventListener("waiting", () => this.jump());
  }

  // seek plays from an instant on, in milliseconds since 1970.
  seek(at) {
    this.wanted = new Date(at).toISOString();
    this.held = this.paused = false;
    this.marks = [];
    this.send({ seek: this.wanted });
  }

  // pause stops or goes on. The recorder is stopped as well.
  pause(on) {
    this.paused = on;
    if (on) this.video.pause();
    else this.play();
    if (!this.held) this.send({ pause: on });
  }

  setSpeed(speed) {
    this.marks = [];
    this.send({ speed });
  }

  // at returns what the video shows, or undefined before the first picture.
  at() {
    const now = this.video.currentTime;
    const mark = this.marks.findLast((one) => one.media <= now + 0.001) ?? this.marks[0];
    return mark && mark.wall + Math.max(0, now - mark.media) * 1000 * mark.speed;
  }

  send(order) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(order));
    else if (this.socket) (this.waiting ??= []).push(order);
    else this.connect(order);
  }

  connect(order) {
    const s = this.socket = socket(this.path);
    this.waiting = [order];
    s.binaryType = "arraybuffer";
    s.addEventListener("open", () => {
      for (const one of this.waiting) s.send(JSON.stringify(one));
      this.waiting = undefined;
    });
    s.addEventListener("message", ({ data }) => (typeof data === "string" ? this.read(JSON.parse(data)) : this.take(data)));
    s.addEventListener("close", () => this.closed(s));
  }

  // closed asks for the reason: a connection that was taken back says none.
  async closed(s) {
    if (this.socket !== s) return;
    this.socket = undefined;
    this.drop();
    let refusal, allowed = true;
    try {
      ({ allowed } = await get(this.check));
    } catch (error) {
      if (error instanceof Refusal) refusal = error;
    }
    this.told({ closed: true, refusal, allowed });
  }

  // drop ends the picture: what was taken back is not looked at any more.
  drop() {
    this.queue = [];
    this.buffer = undefined;
    this.type = undefined;
    this.first = undefined;
    this.marks = [];
    this.video.removeAttribute("src");
    this.video.load();
  }

  close() {
    const s = this.socket;
    this.socket = undefined;
    s?.close();
    this.drop();
  }

  read(message) {
    if (message.start) {
      this.current = !message.seek || message.seek === this.wanted;
      if (!this.current) return;
      this.speed = message.speed ?? 1;
      this.queue = [{ clear: true }];
      this.marks = [];
      this.told({ start: Date.parse(message.start), speed: this.speed });
      this.pump();
    } else if (message.mime) this.mime = message.mime;
    else if (message.end && (!message.seek || message.seek === this.wanted)) this.told({ end: message.end, codec: message.codec });
  }

  take(data) {
    if (!this.current) {
      this.mime = undefined;
      return;
    }
    if (this.mime) {
      this.queue.push({ mime: this.mime, data });
      this.mime = undefined;
    } else {
      const numbers = new DataView(data), wall = numbers.getFloat64(0), media = numbers.getFloat64(8);
      this.queue.push({ wall, media, data: new Uint8Array(data, 16) });
    }
    this.pump();
    this.hold();
  }

  // hold makes the recorder wait while the browser has enough.
  hold() {
    const held = this.buffered() + this.queue.length / 50 > ahead;
    if (held === this.held || this.paused) return;
    if (!held && this.buffered() > ahead / 2) return;
    this.held = held;
    this.send({ pause: held });
  }

  // buffered returns how much is ahead of the picture, in seconds.
  buffered() {
    const { buffered, currentTime } = this.video;
    return buffered.length ? Math.max(0, buffered.end(buffered.length - 1) - currentTime) : 0;
  }

  // pump gives the video what waits, one after the other.
  pump() {
    while (this.queue.length && !this.opening && !this.buffer?.updating) {
      const next = this.queue.shift();
      if (next.clear) {
        this.fresh = true; // the next picture is shown at once
        this.first = undefined;
        if (this.buffer && this.video.buffered.length) this.buffer.remove(0, Infinity);
      } else if (next.mime) this.begin(next);
      else if (this.buffer) {
        try {
          this.buffer.appendBuffer(next.data);
        } catch (error) {
          if (error.name !== "QuotaExceededError") throw error;
          this.queue.unshift(next);
          return;
        }
        if (next.wall) this.mark(next);
      }
    }
  }

  mark({ wall, media }) {
    const last = this.marks.at(-1);
    if (last) {
      const gap = wall - (last.wall + (media - last.media) * 1000 * last.speed);
      if (Math.abs(gap) < 2000 && media - last.media < 1) return;
      if (gap >= 2000) this.told({ skipped: [wall - gap, wall] });
    }
    this.marks.push({ wall, media, speed: this.speed });
    if (this.marks.length > 600) this.marks.shift();
    if (!this.fresh) return;
    this.fresh = false;
    this.first = media;
  }

  // show leads to the first picture after a seek, once there is sound to it: browsers ignore
  // who wants to be where not all is.
  show() {
    if (this.first === undefined) return;
    const { buffered } = this.video;
    for (let n = 0; n < buffered.length; n++) {
      if (buffered.end(n) <= this.first) continue;
      this.video.currentTime = Math.max(this.first, buffered.start(n));
      this.first = undefined;
      if (!this.paused) this.play(); // somebody may have paused before it came
      return;
    }
  }

  // begin makes the video ready for a kind of fragments, or gives it the segment of another.
  begin({ mime, data }) {
    if (!Source?.isTypeSupported(mime)) {
      this.told({ mime });
      return;
    }
    this.told({ sound: mime.includes(",") });
    if (this.buffer && this.source.readyState === "open") {
      if (mime !== this.type) this.buffer.changeType(mime);
      this.type = mime;
      this.buffer.appendBuffer(data);
      return;
    }
    const source = this.source = new Source();
    this.opening = true;
    this.type = mime;
    source.addEventListener("sourceopen", () => {
      URL.revokeObjectURL(this.video.src);
      this.opening = false;
      if (this.source !== source || this.type === undefined) return;
      this.buffer = source.addSourceBuffer(mime);
      this.buffer.addEventListener("updateend", () => {
        this.pump();
        this.show();
        if (this.video.readyState < 3 && !this.fresh && this.first === undefined) this.jump(); // sound may begin a little after the picture
      });
      this.buffer.appendBuffer(data);
    }, { once: true });
    this.video.src = URL.createObjectURL(source);
  }

  play() {
    this.video.play().catch(() => {}); // the browser may want a click first, or it was paused meanwhile
  }

  // jump goes on after what is missing: a hole in the timeline, or what was removed.
  jump() {
    const { buffered, currentTime } = this.video;
    for (let n = 0; n < buffered.length; n++) {
      if (buffered.start(n) > currentTime && buffered.start(n) < currentTime + 60) {
        this.video.currentTime = buffered.start(n) + 0.01;
        return;
      }
    }
  }

  tidy() {
    this.hold();
    const { buffered, currentTime } = this.video;
    if (this.buffer && !this.buffer.updating && buffered.length && currentTime - buffered.start(0) > 2 * behind) this.buffer.remove(0, currentTime - behind);
  }
}
