package api

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"latchkey/internal/browsertest"
)

func TestMain(m *testing.M) { os.Exit(browsertest.Main(m)) }

// chromium is a page of a real browser in which somebody is logged in.
func (w *world) chromium(origin string, p person, tag string, look browsertest.Look) *browsertest.Page {
	w.t.Helper()
	page := browsertest.New(w.t, origin, look).Open("/favicon.ico")
	page.Eval(fmt.Sprintf(`void (document.cookie = "latchkey-session=%s; path=/", document.cookie = "latchkey-language=%s; path=/")`, p.token, tag), nil)
	return page
}

// pagesOf are the pages that the people of a village see.
func pagesOf(v *village) (owner, recipient []string) {
	share, device := "/my-shares/"+v.id, "/devices/"+v.device
	received := "/shared-with-me/" + v.id + "/" + v.device
	owner = []string{"/live", "/my-shares", "/my-shares/new?device=" + v.device, share, share + "/delete", "/my-shares/codes",
		"/devices", "/devices/requests", device, device + "/delete", device + "/transfer", "/alarms", "/account", "/account/keys",
		"/account/addresses", "/account/close", "/nowhere"}
	recipient = []string{"/live", "/live/" + v.device + "/1", "/shared-with-me", received, received + "/delete", "/account"}
	return owner, recipient
}

// foreign are the words of a page that are not marked, as those of the catalogue are, also
// after its scripts have run; what people named is in <bdi>, <code> or a field.
const foreign = `(() => {
	const list = [], not = "script, style, noscript, bdi, code, time, select, textarea, .brand";
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = walk.nextNode(); n; n = walk.nextNode())
		if (/\p{L}{2}/u.test(n.data) && !n.data.includes("⟦") && !n.parentElement.closest(not)) list.push(n.data.trim());
	for (const e of document.querySelectorAll("[aria-label], [title], [placeholder]"))
		for (const name of ["aria-label", "title", "placeholder"]) {
			const text = e.getAttribute(name);
			if (e.closest(".presets") && name === "title") continue; // the API describes presets
			if (text && /\p{L}{2}/u.test(text) && !text.includes("⟦") && !e.closest(not)) list.push(name + "=" + text);
		}
	return list;
})()`

// TestBrowserHasOnlyWordsOfTheCatalogue: no page shows words that no catalogue has, after
// its scripts have run.
func TestBrowserHasOnlyWordsOfTheCatalogue(t *testing.T) {
	t.Parallel()
	v := portalVillage(t)
	s := httptest.NewServer(v.server.Handler())
	t.Cleanup(s.Close)
	later := v.chromium(s.URL, v.recipient, "en-XA", browsertest.Look{}) // before she accepts: the dialog
	check := func(page *browsertest.Page, path string) {
		t.Helper()
		page.Go(path)
		page.WaitEval(`document.documentElement.lang === "en-XA"`)
		var words []string
		if page.Eval(foreign, &words); len(words) > 0 {
			t.Errorf("%s has words that are not in the catalogue: %q", path, words)
		}
	}
	check(later, "/account")
	v.accept()
	owner, recipient := pagesOf(v)
	page := v.chromium(s.URL, v.owner, "en-XA", browsertest.Look{})
	for _, path := range owner {
		check(page, path)
	}
	for _, path := range recipient {
		check(later, path)
	}
}

// worst are strings that break pages: long; code, from right to left, and of many code points
// a letter; and what no text may hold.
var worst = map[string]string{
	"long": strings.Repeat("Donaudampfschifffahrt", 500),
	"odd": `"'></textarea></title><script>window.ran = 1</script><img src=/x onerror="window.ran = 1">{{.}}${1}` +
		"\u202eשלום\u2067 مرحبا \u202e👩‍👩‍👧‍👦🏳️‍🌈 Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
	"nul": "a\x00b\r\nSet-Cookie: x=y\x7f\u2028\ufffe",
}

// TestBrowserBearsTheWorstStrings sends each form of the portal with what breaks pages: on
// the narrowest screen nothing is wider than it, nothing is run, and the page says what it
// made of it.
func TestBrowserBearsTheWorstStrings(t *testing.T) {
	t.Parallel()
	for name, text := range worst {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := portalVillage(t)
			v.accept()
			s := httptest.NewServer(v.server.Handler())
			t.Cleanup(s.Close)
			narrow := browsertest.Look{Width: 320, Height: 640, Touch: true}
			owner, recipient := pagesOf(v)
			visitor := browsertest.New(t, s.URL, narrow).Open("/login")
			forms := 0
			for page, paths := range map[*browsertest.Page][]string{
				visitor:                                  {"/login", "/register", "/reset", "/reset/code", "/invite"},
				v.chromium(s.URL, v.owner, "en", narrow): owner,
				v.chromium(s.URL, v.recipient, "en", narrow): recipient,
			} {
				for _, path := range paths {
					forms += sendAll(t, page, path, text)
				}
			}
			if forms < 15 {
				t.Errorf("only %d forms were sent", forms)
			}
		})
	}
}

// sendAll sends each form of a page that takes text, and holds what comes back. It returns
// how many it sent.
func sendAll(t *testing.T, page *browsertest.Page, path, text string) int {
	t.Helper()
	const fields = `input:not([type]), input[type=text], input[type=email], input[type=tel], input[type=password], input[type=search], input[type=url], textarea`
	page.Go(path)
	var n int
	page.Eval(fmt.Sprintf(`[...document.querySelectorAll("main form")].filter(f => f.querySelector(%q)).length`, fields), &n)
	for i := range n {
		page.Go(path)
		page.Leads(func() {
			page.Eval(fmt.Sprintf(`void setTimeout(() => {
				const form = [...document.querySelectorAll("main form")].filter(f => f.querySelector(%q))[%d];
				form.noValidate = true;
				for (const e of form.querySelectorAll(%[1]q)) { e.removeAttribute("maxlength"); e.value = %[3]s; e.disabled = false; }
				for (const e of form.querySelectorAll("button")) e.disabled = false;
				form.requestSubmit(form.querySelector("button.main, button"));
			})`, fields, i, quote(text)), nil)
		})
		var seen struct {
			Ran   bool
			Wide  []string
			Words int
		}
		page.Eval(`({ran: Boolean(window.ran), words: document.querySelector("main").innerText.trim().length,
			wide: document.documentElement.scrollWidth <= innerWidth ? [] :
				[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map(e => e.outerHTML.slice(0, 150))})`, &seen)
		if seen.Ran || len(seen.Wide) > 0 || seen.Words < 10 {
			t.Errorf("form %d of %s: run: %t; %d characters; too wide: %q", i, path, seen.Ran, seen.Words, seen.Wide)
		}
	}
	return n
}

// quote is a string in a script.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
