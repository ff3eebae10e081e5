// Live pictures by HLS, for iPhones without Media Source Extensions: their video element
// reads the playlist itself.
import { call } from "./api.js";

// playHLS plays a channel in a video element, until close() is called or it ends by itself:
// then onend is called once with {code, message}, codes of the API, or "lost" if the browser
// does not say more. It resolves when the server has a viewer, and throws its refusal
// otherwise. The stream is "main" or "sub".
export async function playHLS(video, { device, channel, stream = "main", signal, onend = () => {} }) {
  const response = await call("POST", `/devices/${encodeURIComponent(device)}/channels/${channel}/hls?stream=${stream}`, { signal });
  const { playlist } = await response.json();
  const path = playlist.replace("/api/v1", "");
  let closed = false;

  function close() {
    if (closed) return;
    closed = true;
    signal?.removeEventListener("abort", close);
    video.removeEventListener("error", failed);
    if (video.getAttribute("src") === "/do" + path) {
      video.removeAttribute("src");
      video.load();
    }
    call("DELETE", path.slice(0, path.lastIndexOf("/")), { keepalive: true }).catch(() => {}); // it may have ended
  }

  // failed asks for the reason: a video does not say what the server has answered.
  async function failed() {
    if (closed) return;
    const message = video.error?.message ?? "";
    const reason = await call("GET", path).then(() => ({ code: "lost", message }), (err) => ({ code: err.code || "lost", message: err.message }));
    if (closed) return;
    close();
    onend(reason);
  }

  if (signal?.aborted) {
    close();
    throw new DOMException("closed", "AbortError");
  }
  signal?.addEventListener("abort", close, { once: true });
  video.addEventListener("error", failed);
  video.playsInline = true;
  video.src = "/do" + path;
  return { close };
}
