package portaltest

import (
	"testing"

	"latchkey/internal/browsertest"
)

// TestBrowserIsNotified: the worker shows what is pushed to it and names no camera; what
// keeps a browser from it is said in words.
func TestBrowserIsNotified(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga := s.register("olga@example.com", "Olga Lind")
	browser := olga.browse(browsertest.Look{})
	browser.AllowNotifications(false)
	page := browser.Open("/alarms")
	page.WaitTextIn("#push-wrong", "are not allowed")
	page.WaitEval(`document.querySelector("#push button").disabled`)

	browser.AllowNotifications(true)
	page.Allow("does not support the Push API in incognito mode") // in which tests browse
	page.Go("/alarms")
	page.WaitEval(`document.querySelector("#push .note").hidden`)
	page.Click("#push button")
	page.WaitTextIn("#push-wrong", "push service")
	page.WaitEval(`!document.querySelector("#push button").disabled`)

	page.Push(`{"type":"alarm","alarm":"a-1","at":"2026-01-31T10:00:00Z"}`)
	page.WaitEval(`navigator.serviceWorker.ready.then(async (worker) => {
		const shown = await worker.getNotifications();
		return shown.length === 1 && /^There is an alarm of \d+:\d\d/.test(shown[0].body) && shown[0].data.path === "/alarms/a-1";
	})`)
	page.Push(`nonsense`)
	page.WaitEval(`navigator.serviceWorker.ready.then(async (worker) => (await worker.getNotifications()).some((n) => n.body === "There is an alarm."))`)
}
