// Shows a notification of an alarm while no page is open, and leads to it. The server puts
// the words before this. No camera is named: a locked screen may show it to anybody.
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("push", (event) => {
  let said = {};
  try { said = event.data.json(); } catch { /* none of ours, but a push must show something */ }
  const at = new Date(said.at);
  const known = !Number.isNaN(at.getTime());
  event.waitUntil(registration.showNotification("Latchkey", {
    body: known ? words["push.alarm"].replace("{time}", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })) : words["push.alarm.some"],
    tag: said.alarm || "alarm",
    timestamp: known ? at.getTime() : Date.now(),
    data: { path: said.alarm ? `/alarms/${encodeURIComponent(said.alarm)}` : "/alarms" },
  }));
});

addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data.path));
});

async function open(path) {
  for (const page of await clients.matchAll({ type: "window" })) {
    if (new URL(page.url).pathname.startsWith("/alarms")) {
      await page.navigate(path);
      return page.focus();
    }
  }
  return clients.openWindow(path);
}
