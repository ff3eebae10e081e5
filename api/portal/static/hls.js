// Live pictures by HLS, for iPhones without Media Source Extensions: their video element
// reads the playlist itself.
import { call, Refusal } from "./api.js";

const lookEvery = 1000; // ms

// playHLS plays a channel in a video element, until close() is called or it ends by itself:
// then onend is called once with {code, message}, codes of the API, or "lost" if the server
// cannot be reached, or "decode_failed" if the browser gave up. It resolves when the server
// has a viewer, and throws its refusal otherwise. The stream is "main" or "sub".
export async function playHLS(video, { device, channel, stream = "main", signal, onend = () => {} }) {
  const response = await call("POST", `/devices/${encodeURIComponent(device)}/channels/${channel}/hls?stream=${stream}`, { signal });
  const { playlist } = await response.json();
  const path = playlist.replace("/api/v1", "");
  let closed = false, timer = 0;

  function close() {
    if (closed) return;
    closed = true;
    clearTimeout(timer);
    signal?.removeEventListener("abort", close);
    video.removeEventListener("error", failed);
    if (video.getAttribute("src") === "/do" + path) {
      video.removeAttribute("src");
      video.load();
    }
    call("DELETE", path.slice(0, path.lastIndexOf("/")), { keepalive: true }).catch(() => {}); // it may have ended
  }

  function end(why) {
    if (closed) return;
    close();
    onend(why);
  }

  // A video does not say what the server has answered.
  const ask = () => call("GET", path);
  const said = (error) => error instanceof Refusal && error.status !== 429;

  // look ends the picture with its viewer: a video plays on what it has loaded, which is some
  // seconds.
  async function look() {
    try {
      await ask();
    } catch (error) {
      if (said(error)) return end(error);
    }
    if (!closed) timer = setTimeout(look, lookEvery);
  }

  async function failed() {
    const message = video.error?.message ?? "";
    end(await ask().then(() => ({ code: "decode_failed", message }), (error) => (said(error) ? error : { code: "lost", message })));
  }

  if (signal?.aborted) {
    close();
    throw new DOMException("closed", "AbortError");
  }
  signal?.addEventListener("abort", close, { once: true });
  video.addEventListener("error", failed);
  video.playsInline = true;
  video.src = "/do" + path;
  timer = setTimeout(look, lookEvery);
  return { close };
}
