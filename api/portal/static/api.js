// Calls of the API by scripts of a page. The server puts the session to them.

// Refusal is an answer of the API that says no, with words for people in its message.
export class Refusal extends Error {
  constructor(status, problem, response) {
    super(problem.detail || response.statusText);
    this.status = status;
    this.code = problem.code || "";
  }
}

const { csrf = "", session = "" } = document.documentElement.dataset;

// call sends a request such as call("POST", "/devices/1/ptz", {json: {...}}) and returns the
// response. It throws a Refusal, or TypeError if the server cannot be reached. An ended
// session leads to the log-in; if somebody else has logged in since, the page is loaded again.
export async function call(method, path, { json, body, headers = {}, signal, keepalive } = {}) {
  const all = new Headers(headers);
  all.set("Latchkey-Session", session);
  if (method !== "GET") all.set("Latchkey-CSRF", csrf);
  if (method === "POST" && !all.has("Idempotency-Key") && json !== undefined) all.set("Idempotency-Key", crypto.getRandomValues(new BigUint64Array(2)).join("-"));
  if (json !== undefined) {
    all.set("Content-Type", "application/json");
    body = JSON.stringify(json);
  }
  const response = await fetch("/do" + path, { method, headers: all, body, signal, keepalive, cache: "no-store" });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
  if (problem.code === "session_changed") location.reload();
  throw new Refusal(response.status, problem, response);
}

// get returns the JSON of a GET.
export async function get(path, options) {
  return (await call("GET", path, options)).json();
}

// socket opens a WebSocket to an operation of the API.
export function socket(path) {
  const url = new URL("/do" + path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(url);
}
