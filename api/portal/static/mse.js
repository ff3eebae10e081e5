// Live pictures by Media Source Extensions, for browsers and streams that WebRTC does not
// fit: fragmented MP4 over a WebSocket.
import { get, socket } from "./api.js";
import { t } from "./words.js";

const Source = self.ManagedMediaSource ?? self.MediaSource;

// All in seconds: how far behind the camera a picture may be before it is played faster, and
// before it jumps; what is kept of what was played; and where it jumps to, before the end.
const hurryBehind = 1, jumpBehind = 3, kept = 10, keptAtMost = 30, edge = 0.2;

// supportsMSE reports whether the browser plays a type such as
// video/mp4; codecs="avc1.640028,flac".
export function supportsMSE(mime) {
  return Boolean(Source?.isTypeSupported(mime));
}

// playMSE plays a channel in a video element, which should be muted for a browser that wants
// a click before it plays sound, until close() is called or it ends by itself: then onend is called once with {code, message}, codes of the API, or "lost" if the
// connection broke, or "decode_failed" if the browser gave up. The stream is "main" or "sub".
export function playMSE(video, { device, channel, stream = "main", onend = () => {} }) {
  const source = new Source();
  const address = URL.createObjectURL(source);
  const path = `/devices/${encodeURIComponent(device)}/channels/${channel}`;
  const queue = []; // types and parts to append, in order
  let wire, buffer, reason, heard = false, begun = false, closed = false;

  function close() {
    if (closed) return;
    closed = true;
    queue.length = 0;
    wire?.close();
    video.removeEventListener("error", failed);
    video.removeEventListener("waiting", follow);
    if (video.src === address) {
      video.removeAttribute("src");
      video.load();
    }
    URL.revokeObjectURL(address);
  }

  function end(why) {
    if (closed) return;
    close();
    onend(why);
  }

  function failed() {
    end({ code: "decode_failed", message: video.error?.message ?? "" });
  }

  // ended is called when the connection has closed. A refused request looks like a broken
  // connection, so the reason is asked for.
  async function ended() {
    if (closed) return;
    if (!reason && !heard) {
      reason = await get(path + "/streams").then(() => undefined, (err) => err.code && { code: err.code, message: err.message });
    }
    end(reason ?? { code: "lost", message: "" });
  }

  function take(message) {
    heard = true;
    if (typeof message !== "string") {
      queue.push(message);
      return pump();
    }
    const told = JSON.parse(message);
    if (told.end) {
      reason = { code: told.end.code, message: wordsOf(told.end) };
      return end(reason);
    }
    if (!supportsMSE(told.mime)) return end({ code: "stream_not_playable", message: t("problem.stream_not_playable") });
    queue.push(told.mime);
    pump();
  }

  // pump appends what has come, as soon as the buffer takes it.
  function pump() {
    if (closed || source.readyState !== "open" || buffer?.updating || !queue.length) return;
    try {
      if (typeof queue[0] === "string") {
        setType(queue.shift());
        return pump();
      }
      const next = queue.findIndex((p) => typeof p === "string");
      const parts = queue.slice(0, next < 0 ? queue.length : next);
      buffer.appendBuffer(parts.length === 1 ? parts[0] : joined(parts));
      queue.splice(0, parts.length);
    } catch (err) {
      if (err.name !== "QuotaExceededError" || !trim(kept)) end({ code: "decode_failed", message: err.message });
    }
  }

  function setType(mime) {
    if (buffer) return buffer.changeType(mime);
    buffer = source.addSourceBuffer(mime);
    buffer.addEventListener("updateend", () => {
      if (closed) return;
      follow();
      if (!trim(keptAtMost)) pump();
    });
  }

  // trim removes what was played long ago, and reports whether there is anything to remove.
  function trim(most) {
    if (!buffer.buffered.length || buffer.updating) return false;
    const begin = buffer.buffered.start(0);
    if (video.currentTime - begin <= most) return false;
    buffer.remove(begin, video.currentTime - Math.min(kept, most / 2));
    return true;
  }

  // follow keeps the picture close to the camera.
  function follow() {
    const ranges = video.buffered;
    if (closed || !ranges.length) return;
    const begin = ranges.start(ranges.length - 1), last = ranges.end(ranges.length - 1);
    const behind = last - video.currentTime;
    if (video.currentTime < begin || behind > jumpBehind) {
      video.currentTime = Math.max(begin, last - edge);
      video.playbackRate = 1;
    } else if (behind > hurryBehind) {
      video.playbackRate = 1.15;
    } else if (behind < hurryBehind / 2) {
      video.playbackRate = 1;
    }
    if (!begun) video.play().catch(() => {}); // a browser may want a click first
    begun = true;
  }

  video.autoplay = true;
  video.playsInline = true;
  video.disableRemotePlayback = true; // ManagedMediaSource asks for it
  video.addEventListener("error", failed);
  video.addEventListener("waiting", follow);
  source.addEventListener("sourceopen", pump, { once: true });
  video.src = address;
  wire = socket(`${path}/mse?stream=${stream}`);
  wire.binaryType = "arraybuffer";
  wire.addEventListener("message", (e) => closed || take(e.data));
  wire.addEventListener("close", ended);
  return { close };
}

// wordsOf says in the language of the page why a stream ended. The server says it in English.
function wordsOf({ code, detail }) {
  const key = `problem.${code}`, text = t(key);
  return text === key ? detail : text;
}

// joined puts several buffers into one.
function joined(parts) {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.byteLength, 0));
  let at = 0;
  for (const p of parts) {
    all.set(new Uint8Array(p), at);
    at += p.byteLength;
  }
  return all;
}
