// A still picture a second, where nothing moving can be played.
import { call } from "./api.js";

const every = 1000; // ms

// playStill draws pictures on a canvas. It resolves with the first one, and throws the
// server's refusal if there is none; onend has the refusal that came later.
export async function playStill(canvas, { device, channel, signal, onend }) {
  const path = `/devices/${encodeURIComponent(device)}/channels/${channel}/snapshot`;
  const stop = new AbortController();
  const close = () => stop.abort();
  signal?.addEventListener("abort", close, { once: true });
  let timer;
  stop.signal.addEventListener("abort", () => clearTimeout(timer), { once: true });

  async function draw() {
    const response = await call("GET", path, { signal: stop.signal });
    const picture = await createImageBitmap(await response.blob());
    if (stop.signal.aborted) return;
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
  }
  function next() {
    timer = setTimeout(async () => {
      try {
        await draw();
        if (!stop.signal.aborted) next();
      } catch (error) {
        if (!stop.signal.aborted) onend(error);
      }
    }, every);
  }
  await draw();
  if (!stop.signal.aborted) next();
  return { close };
}
