// Live pictures by WebRTC (WHEP). The server is ICE-lite and reads no candidates, so the
// offer is sent as soon as it is made.
import { call } from "./api.js";

const patience = 2000; // ms that a connection is disconnected, which takes seconds of silence

const readyFor = 10_000; // ms that a connection is kept ready

// A connection with an offer that the next viewer takes: making one takes as long as the
// server's answer. It is nobody's, and asks nobody for anything.
let ready = null;

// prepareWHEP makes one ready.
export function prepareWHEP() {
  if (ready) return;
  const one = ready = offer();
  setTimeout(() => {
    if (ready !== one) return;
    ready = null;
    one.peer.close();
  }, readyFor);
}

// offer returns a new connection, and the promise of its offer.
function offer() {
  const peer = new RTCPeerConnection();
  for (const kind of ["video", "audio"]) {
    const { receiver } = peer.addTransceiver(kind, { direction: "recvonly" });
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
  }
  const offered = peer.setLocalDescription();
  offered.catch(() => {}); // whoever takes it hears of it
  return { peer, offered };
}

// playWHEP shows a stream in a video. It resolves when the server has answered, and throws
// its refusal otherwise. onend is called once, when the connection ends for any reason but
// close, also when nothing has come over it for some seconds: after a sleep, another network
// or a server that is away, a browser itself takes half a minute to give it up.
export async function playWHEP(video, { device, channel, stream, signal, onend }) {
  const { peer, offered } = ready ?? offer();
  ready = null;
  let viewer = "";
  let connected = false; // then the server sees that it is closed
  let over = false;
  let silent = 0; // the timer of a disconnected connection

  function close() {
    if (over) return;
    over = true;
    clearTimeout(silent);
    signal?.removeEventListener("abort", close);
    peer.close();
    if (video.srcObject === sink) video.srcObject = null;
    if (viewer && !connected) call("DELETE", `/webrtc/${encodeURIComponent(viewer)}`, { keepalive: true }).catch(() => {});
  }
  function ended() {
    if (over) return;
    viewer = ""; // the server has ended it
    close();
    onend();
  }

  const sink = new MediaStream();
  signal?.addEventListener("abort", close, { once: true });
  try {
    peer.ontrack = ({ track, receiver }) => {
      sink.addTrack(track);
      if (receiver.transport) receiver.transport.onstatechange = () => {
        if (["closed", "failed"].includes(receiver.transport.state)) ended();
      };
    };
    peer.onconnectionstatechange = () => {
      connected ||= peer.connectionState === "connected";
      clearTimeout(silent);
      if (peer.connectionState === "disconnected") silent = setTimeout(ended, patience);
      if (["closed", "failed"].includes(peer.connectionState)) ended();
    };
    await offered;
    const response = await call("POST", `/devices/${encodeURIComponent(device)}/channels/${channel}/whep?stream=${stream}`, {
      body: peer.localDescription.sdp, headers: { "Content-Type": "application/sdp" }, signal,
    });
    viewer = (response.headers.get("Location") || "").split("/").pop();
    const sdp = await response.text();
    if (over) throw new DOMException("closed", "AbortError");
    video.srcObject = sink;
    await peer.setRemoteDescription({ type: "answer", sdp });
  } catch (error) {
    close();
    throw error;
  }
  return { close, stats: () => peer.getStats() };
}
