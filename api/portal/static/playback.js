// The page with the recordings of a day: what plays, and its timeline.
import { Reel, supported } from "./reel.js";
import { clock, playableFrom, recordedAt } from "./scale.js";
import { Timeline } from "./timeline.js";
import { t } from "./words.js";

const day = JSON.parse(document.getElementById("playback-data").textContent);
const find = (id) => document.getElementById(id);
const box = find("playback"), video = find("picture"), state = find("state"), output = find("clock");
const play = find("play"), sound = find("sound"), speed = find("speed");
const loaded = Date.now();

const say = (key, values) => { state.textContent = key ? t(key, values) : ""; };
const time = (at) => clock(day.offsets, at, { seconds: true, zone: day.offsets.length > 1 });
const name = (button, key) => { button.querySelector(".name").textContent = t(key); };

let playing = false, ended = true;
// Whoever chose no time sees a day from its beginning, and of one that goes on what was
// recorded last.
const [from, to] = day.recordings.at(-1);
day.at ||= to > day.now - 3_600_000 ? Math.max(from, to - 60_000) : day.recordings[0][0];

const setPlaying = (on) => {
  playing = on;
  play.classList.toggle("playing", on);
  name(play, on ? "playback.pause" : "playback.play");
};

const reel = new Reel(video, day.path, day.check, (told) => {
  if (told.start !== undefined) {
    ended = false;
    setPlaying(true);
    if (told.speed !== Number(speed.value)) {
      speed.value = String(told.speed);
      speed.closest("label").hidden = true;
      say("playback.normal_speed");
    } else if (state.dataset.keep) delete state.dataset.keep;
    else say("");
  } else if (told.sound !== undefined) sound.hidden = !told.sound;
  else if (told.skipped) say("playback.skipped", { from: time(told.skipped[0]), to: time(told.skipped[1]) });
  else if (told.mime) stop("playback.no_decoder", { codec: codecOf(told.mime) });
  else if (told.end === "over") goOn();
  else if (told.end) stop(`playback.${told.end === "codec" ? "no_decoder" : told.end}`, { codec: told.codec });
  else if (told.closed) {
    const gone = !told.allowed || told.refusal?.code === "device_not_found";
    stop(gone ? "playback.revoked" : "playback.lost");
    if (told.refusal && !gone) state.textContent = told.refusal.message;
  }
});

const codecOf = (mime) => (/hvc1|hev1/.test(mime) ? "H.265" : /avc1/.test(mime) ? "H.264" : mime);

const stop = (key, values) => {
  ended = true;
  setPlaying(false);
  say(key, values);
};

// seek plays what is at an instant, or what is recorded next.
const seek = (at) => {
  if (!supported) return stop("playback.no_mse");
  const from = playableFrom(day.recordings, at);
  if (from === undefined) {
    reel.close();
    return stop("playback.over");
  }
  if (from > at) {
    say("playback.skipped", { from: time(at), to: time(from) });
    state.dataset.keep = "1";
  } else say("playback.connecting");
  ended = false;
  line.show(from);
  setPlaying(true);
  reel.seek(from);
};

// goOn plays the next recording once this one has been seen.
const goOn = () => {
  const wait = Math.max(0, reel.buffered()) * 1000, at = Math.max(line.at, reel.at() ?? 0) + wait * reel.speed;
  ended = true;
  setTimeout(() => {
    if (!ended) return; // something else was chosen
    const here = recordedAt(day.recordings, at + 1000), next = day.recordings.find(([from]) => from > at - 1000 && from > line.at + 1);
    if (here >= 0 && day.recordings[here][1] - at > 5000) return stop("playback.ended");
    if (!next) return stop("playback.over");
    seek(next[0]);
  }, wait);
};

const line = new Timeline(find("timeline"), day, seek);

play.addEventListener("click", () => {
  if (ended) return seek(line.at);
  reel.pause(playing);
  setPlaying(!playing);
});
find("back").addEventListener("click", () => line.step(-10_000));
find("on").addEventListener("click", () => line.step(10_000));
find("zoom-in").addEventListener("click", () => line.zoom(2));
find("zoom-out").addEventListener("click", () => line.zoom(0.5));
sound.addEventListener("click", () => {
  video.muted = !video.muted;
  sound.setAttribute("aria-pressed", String(!video.muted));
  name(sound, video.muted ? "playback.sound_on" : "playback.mute");
});
speed.addEventListener("change", () => (ended ? seek(line.at) : undefined, reel.setSpeed(Number(speed.value))));

// Keys count wherever nothing else uses them.
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented || event.target.closest("input, select, textarea, button, a, summary, dialog")) return;
  if (event.key === " ") {
    event.preventDefault();
    play.click();
  } else if (event.target !== line.element) line.key(event);
});

for (const link of document.querySelectorAll(".spans a")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    box.scrollIntoView({ block: "nearest" });
    line.choose(Date.parse(new URL(link.href).searchParams.get("at")));
  });
}

setInterval(() => {
  const at = ended || line.dragged !== undefined ? undefined : reel.at();
  line.show(at ?? line.at, day.now + Date.now() - loaded);
  output.textContent = time(line.dragged ?? line.at);
}, 200);

addEventListener("pagehide", () => reel.close());

box.hidden = false;
output.textContent = time(line.at);
line.draw();
if (!supported) say("playback.no_mse");
else seek(day.at); // a picture, not a black box
