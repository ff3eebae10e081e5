// Lets this browser be notified of alarms, or says why it cannot.
import { call } from "./api.js";
import { t } from "./words.js";

const part = document.getElementById("push");
const button = part.querySelector("button");
const note = part.querySelector(".note");

function say(key) {
  document.getElementById("push-wrong").textContent = key.startsWith("push.") ? t(key) : key;
  note.hidden = false;
}

const apple = /iPhone|iPad/.test(navigator.userAgent) && !matchMedia("(display-mode: standalone)").matches;

function hindrance() {
  if (!isSecureContext) return "push.wrong.https";
  if (apple) return "push.wrong.apple";
  if (!("serviceWorker" in navigator) || !("PushManager" in globalThis) || !("Notification" in globalThis)) return "push.wrong.browser";
  if (Notification.permission === "denied") return "push.wrong.denied";
  return "";
}

// bytes reads base64url.
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));

async function subscribe() {
  if ((await Notification.requestPermission()) !== "granted") return say("push.wrong.denied");
  const worker = await navigator.serviceWorker.register(`/sw.js?lang=${document.documentElement.lang}`);
  await navigator.serviceWorker.ready;
  const key = bytes(part.dataset.key);
  let subscription = await worker.pushManager.getSubscription();
  const of = subscription && new Uint8Array(subscription.options.applicationServerKey);
  if (subscription && (of.length !== key.length || of.some((b, i) => b !== key[i]))) { // of another server, or an older key
    await subscription.unsubscribe();
    subscription = null;
  }
  try {
    subscription ||= await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  } catch {
    return say("push.wrong.service");
  }
  await call("POST", "/accounts/me/push-subscriptions", { json: subscription.toJSON() });
  location.reload();
}

const why = hindrance();
if (why) {
  say(why);
  button.disabled = true;
}
part.hidden = document.querySelector("[data-current]") !== null;
button.addEventListener("click", async () => {
  button.disabled = true;
  note.hidden = true;
  try {
    await subscribe();
  } catch (error) {
    say(error.code ? error.message : "push.wrong.failed");
  } finally {
    button.disabled = false;
  }
});
