// Parts of a page that change while it is open: those marked data-live are read again and
// changed where they differ, so that focus, typed text and scrolling stay.
import "./updates.js";
import { announce } from "./sharings.js";

const root = document.documentElement;
const soon = 250; // ms from a notice to the look at the page: several come together
const apart = 2000; // ms between two looks
const late = 5000; // ms: then people are told that the server does not answer
const longest = 30_000; // ms of a look

let timer = 0, last = 0, position = "0", stale = false;

document.addEventListener("latchkey", ({ detail }) => {
  if (/^\d+$/.test(detail.position || "") && BigInt(detail.position) > BigInt(position)) position = detail.position;
  look();
});
document.addEventListener("visibilitychange", () => { if (stale) look(); });

// Some states change without a notice, such as whether a device responds.
const every = Math.min(...[...document.querySelectorAll("[data-live-every]")].map((part) => Number(part.dataset.liveEvery) || Infinity));
if (every < Infinity) setInterval(look, every * 1000);

function look() {
  stale = document.hidden;
  if (stale || timer) return;
  timer = setTimeout(async () => {
    try {
      await refresh();
    } finally {
      timer = 0;
      last = Date.now();
    }
  }, Math.max(soon, last + apart - Date.now()));
}

async function refresh() {
  let response;
  const waited = setTimeout(() => reached(false), late), end = new AbortController();
  setTimeout(() => end.abort(), longest); // of the answer and of what is in it
  try {
    response = await fetch(location.href, { headers: { Accept: "text/html", "Latchkey-Refresh": position }, cache: "no-store", signal: end.signal });
  } catch {
    reached(false);
    return;
  } finally {
    clearTimeout(waited);
  }
  reached(true);
  if (response.redirected && new URL(response.url).pathname === "/login") {
    location.reload();
    return;
  }
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (page.documentElement.dataset.session !== root.dataset.session) {
    location.reload(); // somebody else has logged in
    return;
  }
  const focus = document.activeElement;
  const anchor = CSS.supports("overflow-anchor", "auto") ? null : document.elementFromPoint(innerWidth / 2, innerHeight / 2);
  const top = anchor?.getBoundingClientRect().top;
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = page.getElementById(part.id);
    if (now) morph(part, now);
    if (focus && !focus.isConnected && document.activeElement === document.body) {
      part.tabIndex = -1;
      part.focus({ preventScroll: true });
    }
  }
  if (focus?.isConnected && document.activeElement !== focus) focus.focus({ preventScroll: true });
  if (anchor?.isConnected) scrollBy(0, anchor.getBoundingClientRect().top - top);
  sharings(page.getElementById("sharings"));
}

const key = (node) => node.id || node.dataset?.row || "";
const alike = (a, b) => a.nodeName === b.nodeName && key(a) === key(b);

// What people did to an element is theirs.
const theirs = (element, attribute) => attribute === "open" || (attribute === "checked" && element.matches("input")) || (attribute === "selected");

function morph(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  if (from === document.activeElement && from.matches("input, select, textarea")) return;
  for (const { name, value } of to.attributes) {
    if (!theirs(from, name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !theirs(from, name) && name !== "tabindex") from.removeAttribute(name);
  }
  const keyed = new Map([...from.children].filter(key).map((child) => [key(child), child]));
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const match = key(next) ? keyed.get(key(next)) : at && alike(at, next) ? at : null;
    if (match && alike(match, next)) {
      if (match === at) at = at.nextSibling;
      else from.insertBefore(match, at);
      morph(match, next);
    } else {
      from.insertBefore(document.importNode(next, true), at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

// sharings shows, changes or removes the dialog of new sharings.
function sharings(now) {
  const shown = document.getElementById("sharings");
  if (!now) shown?.remove();
  else if (shown) {
    shown.dataset.count = now.dataset.count;
    shown.querySelector("h2").textContent = now.querySelector("h2").textContent;
  } else document.body.append(document.importNode(now, true));
  announce();
}

const bar = document.getElementById("offline");
function reached(yes) { bar.textContent = yes ? "" : bar.dataset.text; }
document.addEventListener("latchkey-reach", ({ detail }) => {
  reached(detail);
  if (detail) look();
});
addEventListener("offline", () => reached(false));
addEventListener("online", look);
