// What happens to the account, on every page while it is open. One tab of a browser holds
// the connection and tells the others: browsers open six to a server, and 100 live views
// need them. Each notice becomes an event "latchkey" of the document, whose detail is
// {type, at, share, device, ...} as the API sends it, with its position. The event
// "latchkey-reach" says whether the server can be reached.
import { call, Refusal } from "./api.js";

// Tabs of another session share nothing with this one: its name is in every name here.
const session = document.documentElement.dataset.session;
const name = `latchkey-events-${session}`;

const pollEvery = 15_000; // without locks: where there is no HTTPS
const beat = 2; // s from one word of the server to the next
const silentAfter = 4500; // then it cannot be reached: 5 s, with the look at the clock
const lostAfter = 12_000; // then the connection is given up
const deadAfter = 90_000; // of a tab that leads: timers of hidden tabs wait a minute
const longest = 30_000; // between two attempts

const say = (kind, detail) => document.dispatchEvent(new CustomEvent(kind, { detail }));

let reached = true;
function reach(now) {
  if (now !== reached) say("latchkey-reach", now);
  reached = now;
}

const pause = (wait, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, wait);
    signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });

// Where the session was, for the page that connects next, and when the last notice came.
function lastRead() {
  try {
    const [of, id, at] = (localStorage.getItem("latchkey-events") || "").split(" ");
    return of === session ? { id, at: Number(at) } : { id: "", at: 0 };
  } catch {
    return { id: "", at: 0 };
  }
}
function keep(id) {
  try { localStorage.setItem("latchkey-events", `${session} ${id} ${noticed}`); } catch { /* storage is off */ }
}

// A notice that came while this page was on its way may not be in it. before is how much
// older than its event a page may be.
const before = 2000;
let noticed = 0;
function catchUp(at) {
  if (at <= noticed) return;
  noticed = at;
  if (at > performance.timeOrigin - before) say("latchkey", { type: "reset" });
}

// read hands on the events of a stream (WHATWG HTML, 9.2.6) until it ends.
async function read(stream, onBlock) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const block = {};
      for (const line of text.slice(0, end).split("\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) block[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
      }
      onBlock(block);
    }
  }
}

// follow holds the connection until the signal, and connects again when it is lost.
async function follow(signal, tell) {
  let wait = 1000;
  while (!signal.aborted) {
    const one = new AbortController();
    const stop = () => one.abort();
    signal.addEventListener("abort", stop, { once: true });
    let silence = setTimeout(stop, lostAfter);
    try {
      const { id } = lastRead();
      const response = await call("GET", `/events?beat=${beat}`, { headers: id ? { "Last-Event-ID": id } : {}, signal: one.signal });
      tell({ reach: true });
      wait = 1000;
      if (!id) say("latchkey", { type: "reset" }); // nobody knows what came before
      await read(response.body, (block) => {
        clearTimeout(silence);
        silence = setTimeout(stop, lostAfter);
        const isNotice = block.event && block.event !== "ready";
        if (isNotice) noticed = Date.now();
        if (block.id) keep(block.id);
        if (isNotice) {
          tell({ notice: { type: block.event, ...JSON.parse(block.data || "{}"), position: (block.id || "").split("-")[0] } });
        } else {
          tell({ reach: true });
        }
      });
    } catch (error) {
      if (signal.aborted) break;
      if (error instanceof Refusal && error.status === 401) {
        tell({ ended: true });
        return;
      }
      if (error instanceof Refusal && error.status === 400) keep("");
      tell({ reach: error instanceof Refusal && error.status !== 502 && error.status !== 504, wait });
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", stop);
      one.abort();
    }
    await pause(wait, signal);
    wait = Math.min(2 * wait, longest);
  }
}

// share lets one tab of the session follow, and the others hear it.
function share() {
  const channel = new BroadcastChannel(name);
  let heard = Date.now();
  let due = heard + silentAfter; // the next word of the server
  let leading = new AbortController();

  function take(message) {
    heard = Date.now();
    if (message.reach || message.notice) due = heard + silentAfter + (message.wait || 0);
    if (message.ended) location.reload(); // to the log-in, and back here after it
    if (message.reach !== undefined) reach(message.reach);
    if (message.notice) {
      noticed = Date.now();
      say("latchkey", message.notice);
    }
    if (message.noticed) catchUp(message.noticed);
    if (message.hello && noticed) channel.postMessage({ noticed });
  }
  channel.onmessage = (event) => take(event.data);
  setTimeout(() => catchUp(lastRead().at)); // when all modules of the page listen
  channel.postMessage({ hello: true });

  // A tab that takes the lead over from one that hangs steals the lock.
  async function stand(options) {
    const mine = (leading = new AbortController());
    const signal = mine.signal;
    try {
      await navigator.locks.request(name, options.steal ? options : { signal }, () =>
        Promise.race([
          follow(signal, (message) => {
            channel.postMessage(message);
            take(message);
          }),
          // A tab that is being frozen has no time to wait for its connection to end.
          new Promise((done) => signal.addEventListener("abort", done)),
        ]),
      );
    } catch (error) {
      const lost = !signal.aborted;
      mine.abort();
      if (lost && error.name === "AbortError") stand({}); // another tab stole it
      else if (lost) poll();
    }
  }

  function leave() { leading.abort(); }
  function wake() {
    join();
    say("latchkey", { type: "reset" }); // it has heard nothing meanwhile
  }
  function join() {
    leave();
    heard = Date.now();
    due = heard + silentAfter;
    stand({});
  }
  document.addEventListener("freeze", leave);
  document.addEventListener("resume", wake);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) wake(); });
  // A page that was asleep itself could hear nothing.
  let looked = Date.now();
  setInterval(() => {
    const now = Date.now();
    if (now - looked > silentAfter / 2) due = now + silentAfter;
    looked = now;
    if (!document.hidden && now > due) reach(false);
  }, 500);
  setInterval(() => {
    if (document.hidden || Date.now() - heard < deadAfter) return;
    leave();
    heard = Date.now();
    stand({ steal: true });
  }, 5000);
  join();
}

// poll lets a page that is seen look again and again: a connection for each would leave
// none for pictures.
function poll() {
  const look = () => { if (!document.hidden) say("latchkey", { type: "poll" }); };
  setInterval(look, pollEvery);
  document.addEventListener("visibilitychange", look);
}

if (navigator.locks && globalThis.BroadcastChannel) share();
else poll();
