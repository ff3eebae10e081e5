// The large view of one camera: its sound, and what else is granted.
import { play } from "./player.js";
import { t } from "./words.js";

// mountCamera adds the tools to the large view. player is null while nothing may be
// watched. back leads to all cameras.
export function mountCamera(view, { player, back }) {
  const { device, channel, streams } = view.dataset;
  const picture = view.querySelector(".picture");
  const end = new AbortController();
  const { signal } = end;
  const parts = []; // {close} of other modules
  let talk = null;
  picture.querySelector(".dark")?.setAttribute("role", "status");

  const tools = view.querySelector(".player-tools");
  const sound = button("player.mute", "sound");
  const whole = button("player.fullscreen", "fullscreen");
  if (player) tools.append(sound);
  if (document.fullscreenEnabled) tools.append(whole);
  sound.addEventListener("click", () => mute(!player.video.muted), { signal });
  whole.addEventListener("click", () => fullscreen(), { signal });

  function mute(off) {
    player?.mute(off);
    heard();
  }
  function heard() {
    const off = player?.video.muted ?? true;
    sound.dataset.off = off;
    sound.title = t(off ? "player.unmute" : "player.mute");
    sound.setAttribute("aria-label", sound.title);
  }
  function listen() { player?.video.addEventListener("volumechange", heard, { signal }); }
  function fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else view.querySelector(".stage").requestFullscreen?.().catch(() => {});
  }
  picture.addEventListener("dblclick", fullscreen, { signal });
  listen();
  heard();

  view.querySelector(".back")?.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    back();
  }, { signal });

  // Keys of the large view: space mutes, T talks while it is held, F fills the screen,
  // Escape goes back.
  const typing = (target) => target.closest?.("input, select, textarea, dialog");
  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey || typing(event.target)) return;
    const key = event.key.toLowerCase();
    if (key === " " && !event.target.closest?.("button, a, summary")) mute(!(player?.video.muted ?? true));
    else if (key === "t" && talk?.hold) { if (!event.repeat) talk.hold(true); }
    else if (key === "f") fullscreen();
    else if (key === "escape" && !document.fullscreenElement) back();
    else return;
    event.preventDefault();
  }, { signal });
  document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "t") talk?.hold?.(false); }, { signal });

  // The modules of what else is granted are loaded only then.
  async function mount(id, file, name, options) {
    const container = view.querySelector(`#${id}`);
    if (!container) return null;
    try {
      const part = (await import(file))[name](container, options);
      if (signal.aborted) part?.close();
      else if (part) parts.push(part);
      return part;
    } catch (error) {
      console.warn(`${file} cannot be used:`, error.message);
      return null;
    }
  }
  (async () => { talk = await mount("talk", "./talk.js", "mountTalk", { device, channel, video: player?.video }); })();
  mount("ptz", "./ptz.js", "mountPTZ", { device, channel });

  return {
    again() { player?.again(); },
    // rest lets go of the picture while nobody sees it.
    rest(resting) {
      if (!player) return;
      if (resting) player.close();
      else if (!player.video.isConnected) {
        player = play(picture, { device, channel, stream: "main", streams: streams ? JSON.parse(streams) : undefined, sound: true });
        listen();
        heard();
      }
    },
    close() {
      end.abort();
      for (const part of parts) part.close();
      player?.close();
    },
  };
}

function button(key, kind) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = `tool ${kind}`;
  made.title = t(key);
  made.setAttribute("aria-label", made.title);
  return made;
}
