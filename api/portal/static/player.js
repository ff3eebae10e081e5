// A live picture in an element: by the best way that there is, then the next; and words when
// there is none. See choice.js for the ways.
import { call, get, Refusal } from "./api.js";
import { choose } from "./choice.js";
import { playWHEP, prepareWHEP } from "./whep.js";
import { t } from "./words.js";

const firstPicture = { webrtc: 4000, mse: 6000, hls: 15_000, still: 10_000 }; // ms to wait for it
const longestPause = 30_000; // ms between two attempts
const longestAnswer = 10_000; // ms to wait for the reason of an end
const longEnough = 10_000; // ms after which a way has shown that it plays

// able is what this browser can: see choice.js.
const decoders = [...(globalThis.RTCRtpReceiver?.getCapabilities?.("video")?.codecs ?? []), ...(globalThis.RTCRtpReceiver?.getCapabilities?.("audio")?.codecs ?? [])];
const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
const probe = document.createElement("video");
const able = {
  webrtc: [...new Set(decoders.map((codec) => codec.mimeType.split("/")[1].toUpperCase()))],
  mse: (mime) => Source?.isTypeSupported(mime) ?? false,
  hls: (mime) => probe.canPlayType("application/vnd.apple.mpegurl") !== "" && probe.canPlayType(mime) !== "",
};

// starter returns the function of a way. Modules of other ways than the usual one are loaded
// with the first use.
async function starter(way) {
  if (way === "webrtc") return playWHEP;
  const module = { mse: "./mse.js", hls: "./hls.js", still: "./still.js" }[way];
  const name = { mse: "playMSE", hls: "playHLS", still: "playStill" }[way];
  try {
    return (await import(module))[name];
  } catch (error) {
    throw new Error(`loading ${module}: ${error.message}`, { cause: error });
  }
}

// These starts say that this way cannot show this stream, and more attempts change nothing.
const unfit = ["stream_not_playable", "stream_has_b_frames", "webrtc_not_available", "invalid_offer"];

// refusalOf is why a picture has ended as a refusal, in words: what the browser says of it is
// not for people.
function refusalOf(why = {}) {
  if (why instanceof Refusal) return why;
  const { code = "lost", message } = why;
  return new Refusal(0, { code, detail: ["lost", "decode_failed"].includes(code) ? t("player.no_picture") : message }, {});
}

// prepare makes ready for a picture that somebody will probably want to see.
export function prepare() {
  if (able.webrtc.length > 0) prepareWHEP();
}

// play shows a channel in an element until close. The element gets data-state (connecting,
// playing, still, ended or failed), data-way and data-frames, the number of pictures shown,
// and an event "state" with {state, code, message, way}. What was begun in the element by
// the caller stays.
//
// streams is what the server's page says of them, if anything; sound whether it should be
// heard.
export function play(element, { device, channel, stream = "main", streams, sound = false }) {
  const end = new AbortController();
  const path = `/devices/${encodeURIComponent(device)}/channels/${channel}`;
  let running = null; // what plays now
  let attempt = new AbortController(); // what is under way now
  let wake = () => {}; // ends a pause early
  let known = streams;
  const broken = new Set(); // ways that failed with this camera

  const video = document.createElement("video");
  video.playsInline = true;
  video.autoplay = true;
  video.disablePictureInPicture = !sound;
  video.muted = !sound;
  video.setAttribute("aria-label", t("player.video"));
  const canvas = document.createElement("canvas");
  canvas.hidden = true;
  const words = element.querySelector(".dark") ?? element.appendChild(Object.assign(document.createElement("span"), { className: "dark" }));
  element.prepend(video, canvas);

  let frames = 0;
  video.requestVideoFrameCallback?.(function count() {
    frames++;
    if (frames % 10 === 1) element.dataset.frames = frames;
    video.requestVideoFrameCallback(count);
  });

  function say(state, { code = "", message = "", way = "" } = {}) {
    if (end.signal.aborted) return;
    element.dataset.state = state;
    element.dataset.way = way;
    element.dataset.code = code;
    words.textContent = message;
    element.dispatchEvent(new CustomEvent("state", { bubbles: true, detail: { state, code, message, way } }));
  }

  function stopRunning() {
    running?.close();
    running = null;
    attempt.abort();
  }

  // start begins one way, and returns when its first picture is there. It throws why not.
  // onend is called when the picture ends.
  async function start({ way, stream: of }, onend) {
    attempt = new AbortController();
    const { signal } = attempt;
    let over;
    const early = new Promise((_, fail) => { over = fail; });
    early.catch(() => {}); // it may come when nobody waits for it any more
    const options = { device, channel, stream: of, signal, onend: (why) => { over(refusalOf(why)); onend(why); } };
    let shown;
    video.hidden = way === "still";
    canvas.hidden = way !== "still";
    if (way === "still") {
      shown = (await starter(way))(canvas, options);
    } else {
      const picture = new Promise((done) => {
        if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(done);
        else video.addEventListener("timeupdate", done, { once: true });
      });
      const begin = await starter(way);
      if (signal.aborted) throw new DOMException("closed", "AbortError");
      shown = (async () => {
        const opened = await begin(video, options);
        running = opened;
        sounding();
        await picture;
        return opened;
      })();
    }
    let timer;
    const late = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Refusal(0, { code: "no_picture", detail: t("player.no_picture") }, {})), firstPicture[way]);
      signal.addEventListener("abort", () => fail(new DOMException("closed", "AbortError")), { once: true });
    });
    try {
      return await Promise.race([shown, early, late]);
    } catch (error) {
      stopRunning();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  // sounding plays the video, without sound if the browser wants a click for that first.
  function sounding() {
    video.play()?.catch((error) => {
      if (error.name !== "NotAllowedError" || video.muted) return;
      video.muted = true;
      video.play().catch(() => {});
    });
  }

  // once tries each way in turn, and returns how the one that played ended; throws if none
  // plays.
  async function once() {
    if (!known && able.webrtc.length === 0) known = await get(`${path}/streams`, { signal: end.signal });
    const { ways, reason } = choose({ streams: known, able, wanted: stream, sound });
    let last = null;
    for (const one of ways.filter(({ way, stream: of }) => !broken.has(way + of))) {
      const about = reason ? t(reason.key, reason) : "";
      try {
        let over;
        const ended = new Promise((done) => { over = done; });
        running = await start(one, over);
        const began = Date.now();
        say(one.way === "still" ? "still" : "playing", { way: one.way, message: one.way === "still" ? about || last?.message || "" : "", code: reason?.key ?? last?.code });
        const why = await Promise.race([ended, gone]);
        stopRunning();
        const broke = why?.code === "decode_failed" && Date.now() - began > longEnough; // by what was lost on the way
        if (why?.code && why.code !== "lost" && !broke) throw refusalOf(why);
        return;
      } catch (error) {
        if (end.signal.aborted) return;
        console.info(`${device}/${channel} ${one.way} ${one.stream}:`, error.code || error.message, error.stack);
        if (!(error instanceof Refusal) && error instanceof TypeError) throw error; // fetch: the server cannot be reached
        if (error instanceof Refusal && ["device_not_found", "privilege_missing", "stream_not_available", "unavailable"].includes(error.code)) throw error;
        if (unfit.includes(error.code) || ["no_picture", "decode_failed"].includes(error.code) || !(error instanceof Refusal)) broken.add(one.way + one.stream);
        if (unfit.includes(error.code) && error.code !== "webrtc_not_available" && !broken.has("asked")) {
          broken.add("asked"); // what was thought of the streams is not so
          known = await get(`${path}/streams`, { signal: end.signal }).catch(() => known);
          return once();
        }
        if (one.way !== "still" || !last) last = error; // a camera without still pictures is not the reason
      }
    }
    broken.clear();
    if (reason) throw new Refusal(0, { code: reason.key, detail: t(reason.key, reason) }, {});
    throw last ?? new Refusal(0, { code: "no_picture", detail: t("player.no_picture") }, {});
  }
  const gone = new Promise((done) => { end.signal.addEventListener("abort", done, { once: true }); });

  (async () => {
    let wait = 0;
    while (!end.signal.aborted) {
      say("connecting");
      let failed = null;
      const began = Date.now();
      try {
        await once();
      } catch (error) {
        failed = error;
      }
      stopRunning();
      if (end.signal.aborted) return;
      if (!failed) say("connecting"); // a picture that has ended is not live until the reason is known
      const why = await reason(failed);
      if (end.signal.aborted) return;
      if (!failed && Date.now() - began > longEnough) wait = 0;
      if (why.final) {
        say("ended", why);
        await paused(Infinity);
        wait = 0;
      } else {
        if (failed || wait > 0) say(failed ? "failed" : "ended", why);
        await paused(wait * (0.8 + 0.4 * Math.random()));
        wait = Math.min(Math.max(1000, 2 * wait), longestPause);
      }
    }
  })();

  // paused waits, or until something has changed.
  function paused(time) {
    return new Promise((done) => {
      const timer = time < Infinity ? setTimeout(done, time) : 0;
      wake = () => { clearTimeout(timer); done(); };
      end.signal.addEventListener("abort", wake, { once: true });
    });
  }

  // reason says in words why there is no picture. It is final until something changes.
  async function reason(failed) {
    const code = failed instanceof Refusal ? failed.code : "";
    if (failed && !(failed instanceof Refusal)) return { code: "unreachable", message: t("player.unreachable") };
    if (code.startsWith("player.")) return { code, message: failed.message };
    const asking = (attempt = new AbortController());
    const { signal } = asking;
    const timer = setTimeout(() => asking.abort(), longestAnswer);
    try {
      const { items } = await get(`/privileges?device=${encodeURIComponent(device)}`, { signal });
      const camera = items[0]?.cameras?.find((one) => one.channel === Number(channel));
      if (!camera || camera.live === "not_granted") return { final: true, code: "taken_back", message: t("live.taken_back") };
      if (camera.live === "paused") return { final: true, code: "paused", message: t("live.paused") };
      // A server that lags behind says so too; whoever is refused knows it.
      if (camera.live === "not_now") return { final: code === "privilege_missing", code: "not_now", message: t("live.not_now") };
      if (items[0].online?.state === "offline") return { code: "offline", message: offline(items[0].online.since) };
      // A camera that cannot be reached has no such stream either.
      return { code, message: code === "stream_not_available" ? t("player.no_picture") : failed?.message ?? "" };
    } catch (error) {
      return error instanceof Refusal ? { code: error.code, message: error.message } : { code: "unreachable", message: t("player.unreachable") };
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    video,
    // again asks for the picture now, if it has ended: something has changed.
    again() { wake(); },
    // mute turns the sound off or on.
    mute(off) {
      video.muted = off;
    },
    close() {
      if (end.signal.aborted) return;
      end.abort();
      stopRunning();
      video.remove();
      canvas.remove();
      delete element.dataset.state;
      delete element.dataset.way;
      delete element.dataset.frames;
    },
  };
}

function offline(since) {
  if (!since) return t("live.offline");
  const at = new Date(since);
  const day = Date.now() - at < 20 * 3_600_000 ? {} : { day: "numeric", month: "short" };
  const time = new Intl.DateTimeFormat(document.documentElement.lang, { ...day, hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(at);
  return t("live.offline_at", { time });
}
