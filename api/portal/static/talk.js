// Talking to a camera (WHIP): nothing is sent to it but while the button is held.
import { call, get, Refusal } from "./api.js";
import { make, picture } from "./parts.js";
import { t } from "./words.js";

const keepFor = 20_000; // ms that the connection and the microphone are kept for the next time
const askEvery = 1_000; // ms: who talks
const connectWithin = 10_000; // ms

// mountTalk adds the button "Hold to talk" to the container, if the camera may be talked
// to. hold(true) and hold(false) are for keys of the page. video is silent while it is held.
export function mountTalk(container, { device, channel, video }) {
  const path = `/devices/${encodeURIComponent(device)}/channels/${channel}`;
  const end = new AbortController();
  const { signal } = end;
  const label = make("span", {}, t("talk.hold"));
  const state = make("p", { class: "talk-state hint", role: "status", id: "talk-state" });
  const button = make("button", { type: "button", class: "talk", "aria-pressed": "false", "aria-describedby": "talk-state" },
    picture("M10 3a2.500 2.500 0 0 0-2.500 2.500v4a2.500 2.500 0 0 0 5 0v-4A2.500 2.500 0 0 0 10 3zM5 9.500a5 5 0 0 0 10 0M10 14.500V17.500M7.500 17.500h5"), label);

  let held = false;
  let line = null; // {peer, sender, track, path}, or its promise
  let forget = 0; // timer
  let ask = 0; // timer
  let silenced = [];

  const say = (key, values) => { state.textContent = key ? t(key, values) : ""; };

  // look shows the button as far as it can be used.
  async function look() {
    try {
      const talk = await get(`${path}/talk`, { signal });
      if (signal.aborted) return;
      dead(whyNot(talk));
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refusal && (error.status === 403 || error.status === 404)) return gone();
      dead(error instanceof Refusal ? error.message : t("talk.failed"), true);
    }
    if (!button.isConnected) container.replaceChildren(button, state);
  }

  // dead shows why the button cannot be used; "" if it can. It may be tried again.
  function dead(why, again = false) {
    button.toggleAttribute("data-again", again);
    if (why && !again) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
    state.textContent = why;
  }

  // gone is for somebody who may not talk any more.
  function gone() {
    release();
    hangUp();
    container.replaceChildren();
  }

  async function press() {
    if (held || button.getAttribute("aria-disabled") === "true") return;
    held = true;
    clearTimeout(forget);
    button.setAttribute("aria-pressed", "true");
    silence(true);
    say(line ? "talk.starting" : "talk.connecting");
    try {
      const opening = line ??= connect();
      const open = await opening;
      if (line !== opening) return; // it was hung up meanwhile
      line = open;
      if (held) {
        await open.sender.replaceTrack(open.track);
        ask = setTimeout(follow, 200);
      } else say("talk.ready");
    } catch (error) {
      line = null;
      release();
      if (signal.aborted) return;
      state.textContent = error instanceof Refusal ? error.message : t(wordsOf[error.name] || "talk.failed");
      if (error instanceof Refusal && (error.status === 403 || error.status === 404)) gone();
    }
  }

  function release() {
    if (!held) return;
    held = false;
    clearTimeout(ask);
    button.setAttribute("aria-pressed", "false");
    button.removeAttribute("data-heard");
    silence(false);
    if (line?.sender) line.sender.replaceTrack(null).catch(() => {});
    if (line?.sender) say();
    clearTimeout(forget);
    forget = setTimeout(hangUp, keepFor);
  }

  // follow shows who is heard, for as long as the button is held.
  async function follow() {
    try {
      const { talker } = await get(`${path}/talk`, { signal });
      if (!held) return;
      say(`talk.${talker}`);
      button.toggleAttribute("data-heard", talker === "you");
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refusal && (error.status === 403 || error.status === 404)) return gone();
    }
    if (held) ask = setTimeout(follow, askEvery);
  }

  async function connect() {
    if (!line) say("talk.microphone_asked");
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 } });
    const [track] = microphone.getAudioTracks();
    const peer = new RTCPeerConnection();
    const made = { peer, track, sender: null, path: "" };
    try {
      if (held) say("talk.connecting");
      const transceiver = peer.addTransceiver("audio", { direction: "sendonly" });
      made.sender = transceiver.sender;
      transceiver.setCodecPreferences?.(g711());
      await peer.setLocalDescription();
      const answer = await call("POST", `${path}/whip`, { body: peer.localDescription.sdp, headers: { "Content-Type": "application/sdp" }, signal });
      made.path = answer.headers.get("Location").replace("/api/v1", "");
      await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
      await connected(peer);
    } catch (error) {
      close(made);
      throw error;
    }
    // Chromium leaves the state of the connection as it is for some time.
    const ended = () => { if (line === made) lost(made); };
    track.addEventListener("ended", ended, { signal });
    peer.addEventListener("connectionstatechange", () => { if (/failed|closed/.test(peer.connectionState)) ended(); });
    made.sender.transport?.addEventListener("statechange", () => { if (/failed|closed/.test(made.sender.transport.state)) ended(); });
    return made;
  }

  // lost is for a connection that was ended from elsewhere. Why is asked.
  function lost(made) {
    line = null;
    close(made);
    const was = held;
    release();
    if (was) say("talk.ended");
    get(`${path}/talk`, { signal }).catch((error) => { if (error instanceof Refusal && (error.status === 403 || error.status === 404)) gone(); });
  }

  function hangUp() {
    clearTimeout(forget);
    const was = line;
    line = null;
    if (was?.peer) close(was);
    else was?.then?.(close, () => {});
  }

  function close({ peer, track, path: at }) {
    track.stop();
    peer.close();
    if (at) call("DELETE", at, { keepalive: true }).catch(() => {});
  }

  // silence keeps what the camera hears from coming back to it.
  function silence(on) {
    if (on) silenced = (video?.isConnected ? [video] : [...document.querySelectorAll("video")]).filter((v) => !v.muted);
    for (const v of silenced) v.muted = on;
    if (!on) silenced = [];
  }

  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    press();
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(name, release);
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) press();
  });
  button.addEventListener("keyup", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    release();
  });
  // Screen readers press and let go at once: for them it goes on until the next time.
  button.addEventListener("click", (event) => {
    if (event.detail !== 0) return;
    if (held) release(); else press();
  });
  window.addEventListener("blur", release, { signal });
  document.addEventListener("visibilitychange", () => { if (document.hidden) release(); }, { signal });
  window.addEventListener("pagehide", () => { release(); hangUp(); }, { signal });

  look();
  return {
    hold(on) { if (on) press(); else release(); },
    close() {
      release();
      end.abort();
      hangUp();
      container.replaceChildren();
    },
  };
}

// wordsOf are the words for what browsers refuse.
const wordsOf = {
  NotAllowedError: "talk.microphone_refused",
  SecurityError: "talk.microphone_refused",
  NotFoundError: "talk.no_microphone",
  NotReadableError: "talk.microphone_busy",
  TimeoutError: "talk.not_connected",
};

// whyNot returns why there can be no talk, in words; "" if there can be.
function whyNot(talk) {
  if (!window.isSecureContext || !navigator.mediaDevices) return t("talk.insecure");
  if (!window.RTCPeerConnection) return t("talk.no_webrtc");
  if (!talk.available) {
    if (talk.reason === "codec_not_supported") return talk.codec ? t("talk.codec", { codec: talk.codec }) : t("talk.codec_unknown");
    return t("talk.none");
  }
  return talk.webrtc ? "" : t("talk.server_without");
}

// g711 lists the codecs that cameras take.
function g711() {
  return RTCRtpSender.getCapabilities("audio").codecs.filter((c) => /^audio\/pcm[au]$/i.test(c.mimeType));
}

// connected waits until something can be sent.
function connected(peer) {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new DOMException("", "TimeoutError")), connectWithin);
    const look = () => {
      if (peer.connectionState === "connected") resolve();
      else if (/failed|closed/.test(peer.connectionState)) reject(new DOMException("", "TimeoutError"));
      else return;
      clearTimeout(limit);
    };
    peer.addEventListener("connectionstatechange", look);
    look();
  });
}
