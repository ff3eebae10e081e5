// The page of live pictures: all cameras, and one of them large. A click opens the large
// view in this page, so that the picture goes on while the larger one comes.
import "./updates.js";
import { play, prepare } from "./player.js";
import { mountCamera } from "./camera.js";
import { t } from "./words.js";

const leaveAfter = 2000; // ms that a tile plays on after it left the screen
const hiddenAfter = 30_000; // ms that pictures go on in a hidden tab
const pictureFirst = 500; // ms that the page around a large picture waits for it
const soon = 300; // ms from a notice to the look at the page

const main = document.getElementById("main");
const players = new Map(); // by tile
let large = null; // the large view, if it is open

const same = (a, b) => a.dataset.device === b.dataset.device && a.dataset.channel === b.dataset.channel;
const tiles = (root = main) => [...root.querySelectorAll(".tile")];
const streamsOf = (element) => (element.dataset.streams ? JSON.parse(element.dataset.streams) : undefined);

// Tiles play while they are on the screen.
const leaving = new Map();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    clearTimeout(leaving.get(target));
    if (isIntersecting) start(target);
    else leaving.set(target, setTimeout(() => stop(target), leaveAfter));
  }
}, { rootMargin: "80px" });

function start(tile) {
  if (players.has(tile) || tile.dataset.may !== "now" || document.hidden || !tile.isConnected) return;
  const { device, channel } = tile.dataset;
  players.set(tile, play(tile.querySelector(".picture"), { device, channel, stream: "sub", streams: streamsOf(tile) }));
}
function stop(tile) {
  players.get(tile)?.close();
  players.delete(tile);
}
function watch(root) {
  for (const tile of tiles(root)) observer.observe(tile);
}
function leave() {
  observer.disconnect();
  for (const tile of [...players.keys()]) stop(tile);
}

let changed = Promise.resolve(); // when the page is what change makes of it

// change moves between the two views, smoothly where the browser can: then it takes a picture
// of the page before it calls work.
function change(from, to, work) {
  if (!document.startViewTransition || matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden) {
    work();
    return;
  }
  if (from) from.style.viewTransitionName = "picture";
  const moving = document.startViewTransition(() => {
    if (from) from.style.viewTransitionName = "";
    work();
    const target = to();
    if (target) target.style.viewTransitionName = "picture";
  });
  moving.finished.finally(() => { const target = to(); if (target) target.style.viewTransitionName = ""; });
  moving.ready.catch(() => {});
  changed = moving.updateCallbackDone;
}

let grid = null; // the page of all cameras, while one is large
let scrolled = 0;
const title = document.title;

async function open(tile) {
  const link = tile.querySelector("a");
  const { device, channel } = tile.dataset;
  const stage = Object.assign(document.createElement("div"), { className: "stage" });
  const picture = stage.appendChild(Object.assign(document.createElement("div"), { className: "picture" }));
  // The large picture is asked for before anything else.
  const player = tile.dataset.may === "now" ? play(picture, { device, channel, stream: "main", streams: streamsOf(tile), sound: true }) : null;
  const small = players.get(tile)?.video;
  const asked = fetch(link.href, { headers: { Accept: "text/html" } });
  history.pushState({ camera: link.pathname }, "", link.href);
  scrolled = scrollY;
  grid = document.createDocumentFragment();
  const view = document.createElement("div");
  view.id = "camera";
  view.className = "large";
  Object.assign(view.dataset, tile.dataset);
  view.append(stage);
  if (small) picture.prepend(small); // below the one that comes
  change(tile.querySelector(".picture"), () => stage.querySelector(".picture"), () => {
    grid.append(...main.childNodes);
    main.append(view);
    scrollTo(0, 0);
  });
  // What is around the picture is built after it has come, if that is soon.
  const pictured = !player || new Promise((done) => {
    setTimeout(done, pictureFirst);
    picture.addEventListener("state", ({ detail }) => {
      if (detail.state === "connecting") return;
      stop(tile);
      done();
    });
  });
  leaveExcept(tile);
  const page = await asked.then((response) => (response.ok && !response.redirected ? response.text() : "")).catch(() => "");
  await changed;
  await pictured;
  if (!view.isConnected) return;
  const fresh = new DOMParser().parseFromString(page, "text/html");
  const theirs = fresh.getElementById("camera");
  if (!theirs) {
    location.reload();
    return;
  }
  document.title = fresh.title;
  if (!player) stop(tile);
  show(view, theirs, player);
}

// leaveExcept ends all tiles but one, whose picture is shown until the large one comes.
function leaveExcept(tile) {
  observer.disconnect();
  for (const other of [...players.keys()]) if (other !== tile) stop(other);
}

// show puts what the server's page has around a picture that plays.
function show(view, fresh, player) {
  const stage = view.querySelector(".stage");
  const theirs = fresh.querySelector(".stage");
  const dark = theirs.querySelector(".dark");
  if (!player && dark) stage.querySelector(".picture").append(document.importNode(dark, true));
  theirs.replaceWith(stage);
  for (const { name, value } of fresh.attributes) view.setAttribute(name, value);
  view.replaceChildren(...[...fresh.childNodes].map((node) => document.adoptNode(node)));
  large = mountCamera(view, { player, back });
}

function back() {
  if (history.state?.camera) history.back();
  else location.assign("/live");
}

async function close() {
  await changed;
  const view = document.getElementById("camera");
  const from = view.querySelector(".picture");
  large?.close();
  large = null;
  document.title = title;
  const tile = tiles(grid).find((one) => same(one, view));
  change(from, () => tile?.querySelector(".picture"), () => {
    main.replaceChildren(grid);
    grid = null;
    scrollTo(0, scrolled);
    tile?.querySelector("a").focus({ preventScroll: true });
    watch(main);
    look();
  });
}

addEventListener("popstate", () => {
  if (grid && location.pathname === "/live") close();
  else if (location.pathname !== "/live" || !main.querySelector("#live")) location.reload(); // the page was loaded while one was large
});

// Whoever points at a tile will probably open it.
for (const intent of ["pointermove", "pointerdown"]) {
  main.addEventListener(intent, ({ target }) => { if (target.closest(".tile")?.dataset.may === "now") prepare(); });
}

main.addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  open(tile);
});

// Arrows move between tiles, to the nearest in their direction; space turns the sound of a
// tile on and off.
main.addEventListener("keydown", (event) => {
  const tile = event.target.closest?.(".tile");
  if (!tile || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key === " ") {
    const player = players.get(tile);
    if (player) player.mute(!player.video.muted);
    event.preventDefault();
    return;
  }
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!way) return;
  const next = nearest(tile, way);
  if (!next) return;
  event.preventDefault();
  next.querySelector("a").focus();
});

function nearest(from, [x, y]) {
  const middle = (tile) => { const box = tile.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
  const [fromX, fromY] = middle(from);
  let best = null, least = Infinity;
  for (const tile of tiles()) {
    const [toX, toY] = middle(tile);
    const along = (toX - fromX) * x + (toY - fromY) * y;
    const across = Math.abs((toX - fromX) * y) + Math.abs((toY - fromY) * x);
    if (along > 1 && along + 3 * across < least) [best, least] = [tile, along + 3 * across];
  }
  return best;
}

// A hidden tab lets go of its pictures after a while.
let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => { leave(); large?.rest(true); }, hiddenAfter);
  else {
    large?.rest(false);
    if (!grid) {
      observer.disconnect();
      watch(main);
    }
  }
});
addEventListener("pagehide", () => { leave(); large?.rest(true); });
addEventListener("pageshow", (event) => { if (event.persisted) { watch(main); large?.rest(false); } });

// Something has changed: tiles come, change and go.
let looking = 0;
document.addEventListener("latchkey", ({ detail }) => {
  if (detail.type === "alarm") return;
  large?.again();
  admit(detail.position);
  look(detail.position);
});
document.addEventListener("latchkey-reach", ({ detail }) => { if (detail) look(); });

// Nothing tells that hours begin.
setInterval(() => {
  if (document.hidden || !main.querySelector('[data-may="not_now"], [data-code="not_now"]')) return;
  large?.again();
  admit();
  look();
}, 30_000);

// admit loads a large view again that was opened without a picture, once there is one.
async function admit(position = "0") {
  const view = document.getElementById("camera");
  if (!view || view.dataset.may === "now" || document.hidden) return;
  const response = await fetch(location.href, { headers: { Accept: "text/html", "Latchkey-Refresh": position }, cache: "no-store" }).catch(() => null);
  if (!response?.ok || response.redirected || !view.isConnected) return;
  const now = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("camera");
  if (now?.dataset.may === "now") location.reload();
}

function look(position = "0") {
  clearTimeout(looking);
  looking = setTimeout(async () => {
    if (!main.querySelector("#live") || document.hidden) return;
    const response = await fetch(location.href, { headers: { Accept: "text/html", "Latchkey-Refresh": position }, cache: "no-store" }).catch(() => null);
    if (!response?.ok || response.redirected || grid) return;
    merge(new DOMParser().parseFromString(await response.text(), "text/html"));
  }, soon);
}

function merge(page) {
  const now = page.querySelector("#live .tiles");
  const shown = main.querySelector("#live .tiles");
  if (!now || !shown) {
    if (Boolean(now) !== Boolean(shown)) swap(page.getElementById("main"));
    return;
  }
  const old = tiles(shown);
  let at = shown.firstElementChild;
  for (const fresh of tiles(now)) {
    const tile = old.find((one) => same(one, fresh));
    if (tile) {
      update(tile, fresh);
      at = tile.nextElementSibling;
    } else {
      const added = document.importNode(fresh, true);
      shown.insertBefore(added, at);
      observer.observe(added);
    }
  }
  for (const tile of old) if (!tiles(now).some((fresh) => same(tile, fresh))) takeAway(tile);
}

// swap puts the server's page in the place of this one, with the tiles that play.
function swap(page) {
  leave();
  main.replaceChildren(...[...page.childNodes].filter((node) => node.nodeName !== "SCRIPT").map((node) => document.adoptNode(node)));
  watch(main);
}

function update(tile, fresh) {
  const was = tile.dataset.may;
  for (const { name, value } of fresh.attributes) if (tile.getAttribute(name) !== value) tile.setAttribute(name, value);
  const caption = tile.querySelector(".caption"), now = fresh.querySelector(".caption");
  if (caption.textContent !== now.textContent) caption.replaceWith(document.importNode(now, true));
  if (fresh.dataset.may === "now") {
    players.get(tile)?.again();
    if (was !== "now") {
      observer.unobserve(tile);
      observer.observe(tile);
    }
    return;
  }
  stop(tile);
  darken(tile, fresh.querySelector(".dark")?.textContent ?? "");
}

function darken(tile, text) {
  const picture = tile.querySelector(".picture");
  const dark = picture.querySelector(".dark") ?? picture.appendChild(Object.assign(document.createElement("span"), { className: "dark" }));
  dark.textContent = text;
}

// takeAway lets a tile say what happened to it before it goes.
function takeAway(tile) {
  if (tile.dataset.gone) return;
  tile.dataset.gone = "true";
  stop(tile);
  observer.unobserve(tile);
  tile.dataset.may = "not_granted";
  darken(tile, t("live.taken_back"));
  setTimeout(() => {
    tile.remove();
    if (!main.querySelector(".tile")) look();
  }, 15_000);
}

const camera = document.getElementById("camera");
if (camera) {
  const { device, channel, may } = camera.dataset;
  const player = may === "now" ? play(camera.querySelector(".picture"), { device, channel, stream: "main", streams: streamsOf(camera), sound: true }) : null;
  large = mountCamera(camera, { player, back });
} else {
  watch(main);
}
