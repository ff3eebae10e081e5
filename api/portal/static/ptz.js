// Moving a camera: a pad that moves it while it is held, and its presets.
import { call, get, Refusal } from "./api.js";
import { make, picture, typing } from "./parts.js";
import { t } from "./words.js";

const speed = 0.5; // of the fastest
const repeatEvery = 1_000; // ms
const stopAfter = 2.5; // s without an order: a page that is gone moves nothing

// The pad, row by row: the words, where it moves, and the icon.
const pad = [
  ["up_left", -1, 1, "M6 13V6h7M6 6l8 8"], ["up", 0, 1, "M10 15.500v-11M5.500 9 10 4.500 14.500 9"], ["up_right", 1, 1, "M14 13V6H7M14 6l-8 8"],
  ["left", -1, 0, "M15.500 10h-11M9 5.500 4.500 10 9 14.500"], null, ["right", 1, 0, "M4.500 10h11M11 5.500 15.500 10 11 14.500"],
  ["down_left", -1, -1, "M6 7v7h7M6 14l8-8"], ["down", 0, -1, "M10 4.500v11M5.500 11 10 15.500 14.500 11"], ["down_right", 1, -1, "M14 7v7H7M14 14 6 6"],
];
const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// mountPTZ adds the pad to the container, if the channel may be moved.
export function mountPTZ(container, { device, channel }) {
  const path = `/devices/${encodeURIComponent(device)}/channels/${channel}/ptz`;
  const end = new AbortController();
  const { signal } = end;
  const state = make("p", { class: "ptz-state hint", role: "status" });

  let moving = null; // {pan, tilt, zoom}
  let timer = 0;
  let moved = false;
  let orders = Promise.resolve(); // an order is sent after the one before it has arrived

  async function show() {
    let words = "";
    try {
      words = await mover(await get(`${path}/status`, { signal }));
    } catch (error) {
      if (signal.aborted || forbidden(error)) return;
      // Cameras that do not say where they look may move all the same.
      if (!(error instanceof Refusal) || error.code !== "camera_refused") words = wordsOf(error);
      if (error.code === "ptz_not_available") return container.replaceChildren(state), void (state.textContent = words);
    }
    if (signal.aborted) return;
    state.textContent = words;
    container.replaceChildren(make("div", { class: "ptz", role: "group", "aria-label": t("ptz.title") }, compass(), zoom()), places, state);
    showPresets();
  }

  function compass() {
    const grid = make("div", { class: "ptz-pad" });
    for (const key of pad) {
      if (!key) {
        const stop = make("button", { type: "button", "aria-label": t("ptz.stop"), title: t("ptz.stop") }, picture("M6.500 6.500h7v7h-7z"));
        stop.addEventListener("click", () => { moving = null; halt(); });
        grid.append(stop);
        continue;
      }
      const [name, pan, tilt, icon] = key;
      grid.append(held(`ptz.${name}`, icon, { pan: pan * speed, tilt: tilt * speed, zoom: 0 }));
    }
    return grid;
  }

  function zoom() {
    return make("div", { class: "ptz-zoom" },
      held("ptz.zoom_in", "M10 4.500v11M4.500 10h11", { pan: 0, tilt: 0, zoom: speed }),
      held("ptz.zoom_out", "M4.500 10h11", { pan: 0, tilt: 0, zoom: -speed }));
  }

  // held returns a button that moves while it is held.
  function held(words, icon, order) {
    const button = make("button", { type: "button", "aria-label": t(words), title: t(words) }, picture(icon));
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      move(order);
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(name, stop);
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) move(order);
    });
    button.addEventListener("keyup", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      stop();
    });
    // Screen readers press and let go at once: a short step.
    button.addEventListener("click", (event) => {
      if (event.detail !== 0) return;
      move(order);
      setTimeout(stop, 400);
    });
    return button;
  }

  function move(order) {
    moving = order;
    moved = true;
    state.textContent = "";
    clearInterval(timer);
    timer = setInterval(send, repeatEvery);
    send();
  }

  function send() {
    const order = moving;
    orders = orders.then(async () => {
      if (moving !== order || !order) return; // it has changed meanwhile
      try {
        await call("POST", `${path}/move`, { json: { ...order, stop_after: stopAfter }, signal });
      } catch (error) {
        if (moving === order) fail(error);
      }
    });
  }

  function stop() {
    if (!moving) return;
    moving = null;
    halt();
  }

  // halt stops the camera, at once and after an order that may be on its way.
  function halt() {
    clearInterval(timer);
    const tell = () => call("POST", `${path}/stop`, { keepalive: true }).catch(() => {});
    let late = true;
    orders.then(() => { late = false; });
    tell().then(() => { if (late) orders = orders.then(() => (moving ? null : tell())); });
  }

  async function fail(error) {
    moving = null;
    clearInterval(timer);
    if (signal.aborted) return;
    if (forbidden(error)) return close();
    state.textContent = error.code === "ptz_busy" ? await other() : wordsOf(error);
  }

  // mover says who moves the channel, if it is somebody else.
  async function mover(status) { return status.mover === "other" ? other() : ""; }

  // other names whoever moves the channel, to the owner.
  async function other() {
    try {
      const { items } = await get(`/devices/${encodeURIComponent(device)}/viewers`, { signal });
      const who = items.find((v) => v.transport === "ptz" && v.channel === Number(channel) && !v.own && v.name);
      if (who) return t("ptz.moved_by", { name: who.name });
    } catch { /* the owner alone may know */ }
    return t("ptz.moved_by_other");
  }

  const places = make("div", { class: "ptz-presets" });
  async function showPresets() {
    let items;
    try {
      ({ items } = await get(`${path}/presets`, { signal }));
    } catch {
      return; // the pad does without
    }
    if (signal.aborted || items.length === 0) return;
    const list = make("select", { id: "ptz-preset" }, ...items.map((p) => make("option", { value: p.id }, p.name || t("ptz.preset", { id: p.id }))));
    const go = make("button", { type: "button" }, t("ptz.go"));
    go.addEventListener("click", async () => {
      moved = true;
      state.textContent = "";
      try {
        await call("POST", `${path}/presets/${encodeURIComponent(list.value)}/goto`, { signal });
        state.textContent = t("ptz.going", { name: list.selectedOptions[0].textContent });
      } catch (error) {
        fail(error);
      }
    });
    places.append(make("label", { for: "ptz-preset" }, t("ptz.presets")), make("div", {}, list, go));
  }

  // Shift and arrows move, + and - zoom.
  const down = new Set();
  function steer() {
    let pan = 0, tilt = 0, zoom = 0;
    for (const key of down) {
      if (key === "+" || key === "-") zoom = key === "+" ? speed : -speed;
      else pan += arrows[key][0] * speed, tilt += arrows[key][1] * speed;
    }
    if (pan || tilt || zoom) move({ pan, tilt, zoom });
    else stop();
  }
  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey || typing(event) || !container.firstChild) return;
    if (!(event.key in arrows && event.shiftKey) && event.key !== "+" && event.key !== "-") return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat || down.has(event.key)) return;
    down.add(event.key);
    steer();
  }, { signal, capture: true });
  document.addEventListener("keyup", (event) => {
    if (event.key === "Shift") for (const key of Object.keys(arrows)) down.delete(key);
    else if (!down.delete(event.key)) return;
    if (moving) steer();
  }, { signal });
  function letGo() { down.clear(); stop(); }
  window.addEventListener("blur", letGo, { signal });
  document.addEventListener("visibilitychange", () => { if (document.hidden) letGo(); }, { signal });
  window.addEventListener("pagehide", letGo, { signal });

  function close() {
    letGo();
    clearInterval(timer);
    end.abort();
    if (moved) call("DELETE", path, { keepalive: true }).catch(() => {}); // others may move it at once
    container.replaceChildren();
  }

  show();
  return { close };
}

function forbidden(error) { return error instanceof Refusal && (error.code === "privilege_missing" || error.code === "device_not_found"); }

function wordsOf(error) { return error instanceof Refusal ? error.message : t("ptz.failed"); }
