// What every page does where there is JavaScript. Pages work without it.
import { announce } from "./sharings.js";

// Times are shown in the zone of the browser: the server is told it for the next page, and
// those of this page are written again.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && zone !== document.documentElement.dataset.zone) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `latchkey-zone=${encodeURIComponent(zone)}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  const format = new Intl.DateTimeFormat(document.documentElement.lang, {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  });
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.textContent = format.format(at);
  }
}

// A form is sent once, however often its button is pressed. The page may come back from
// the browser's history.
const sent = new WeakSet();
document.addEventListener("submit", (event) => {
  if (sent.has(event.target)) event.preventDefault();
  sent.add(event.target);
});
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const form of document.forms) sent.delete(form);
});

// A choice of language or look takes effect at once.
for (const select of document.querySelectorAll(".preferences select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// New sharings are said, and pages change while they are open.
if (document.documentElement.dataset.session) {
  announce();
  import("./refresh.js");
}

// Texts to copy get a button.
for (const text of document.querySelectorAll("pre[data-copy]")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text.dataset.copy;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text.querySelector("code").textContent);
    button.textContent = text.dataset.copied;
  });
  text.after(button);
}
