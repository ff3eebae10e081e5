package portaltest

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/browsertest"
)

// screenshots is the folder that `make screenshots` wants pictures of all pages in; "" for
// none.
var screenshots = os.Getenv("LATCHKEY_SCREENSHOTS")

// look is one way to look at all pages.
type look struct {
	name string
	browsertest.Look
	axe bool // always; otherwise only when pictures are taken
}

func looks() []look {
	of := func(l browsertest.Look, dark bool) browsertest.Look { l.Dark = dark; return l }
	return []look{
		{"desktop-light", of(browsertest.Desktop, false), true},
		{"desktop-dark", of(browsertest.Desktop, true), false},
		{"phone-light", of(browsertest.Phone, false), false},
		{"phone-dark", of(browsertest.Phone, true), true},
	}
}

// TestBrowserEveryPage follows every link of the portal, and holds each page: nothing that
// axe calls serious or critical, no scrolling sideways from 320 pixels, no fault in the
// browser. With LATCHKEY_SCREENSHOTS it also takes a picture of each, in every look.
func TestBrowserEveryPage(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	for _, l := range looks() {
		if !l.axe && screenshots == "" {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := newWalk(t, h, l)
			w.crawl(browsertest.New(t, h.origin, l.Look).Open("/login"), "/login", "/reset/code", "/invite", "/nowhere")
			page := browsertest.New(t, h.origin, l.Look).Open("/login")
			h.olga.with(t).logIn(page, password)
			w.crawl(page, "/live", "/shared-with-me", "/my-shares", "/devices", "/account")
			w.made(page)
			w.complete()
		})
	}
}

// with lets a subtest use the account.
func (a *account) with(t testing.TB) *account {
	s := &server{t: t, origin: a.s.origin, mail: a.s.mail, done: a.s.done}
	return &account{s: s, email: a.email, name: a.name, token: a.token}
}

// walk visits one page of each route.
type walk struct {
	t       testing.TB
	h       *household
	look    look
	routes  *http.ServeMux
	missing map[string]bool // patterns of pages
}

var portalPage = regexp.MustCompile(`p\.(?:open|private)\("GET ([^"]+)"`)

func newWalk(t testing.TB, h *household, l look) *walk {
	t.Helper()
	source, err := os.ReadFile("../../api/portal/portal.go")
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{t: t, h: h, look: l, routes: http.NewServeMux(), missing: map[string]bool{}}
	for _, m := range portalPage.FindAllStringSubmatch(string(source), -1) {
		w.routes.HandleFunc("GET "+m[1], func(http.ResponseWriter, *http.Request) {})
		w.missing["GET "+m[1]] = true
	}
	return w
}

// pattern returns the route of a path.
func (w *walk) pattern(path string) string {
	r, err := http.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	_, pattern := w.routes.Handler(r)
	return pattern
}

// crawl visits paths, and what they lead to.
func (w *walk) crawl(page *browsertest.Page, paths ...string) {
	w.t.Helper()
	for len(paths) > 0 {
		path := paths[0]
		paths = paths[1:]
		pattern := w.pattern(path)
		if pattern == "GET /{$}" || pattern != "" && !w.missing[pattern] {
			continue
		}
		page.Go(path)
		delete(w.missing, pattern)
		if pattern == "" {
			pattern = path
		}
		w.hold(page, strings.NewReplacer("/", "-", "{", "", "}", "").Replace(strings.TrimPrefix(strings.TrimPrefix(pattern, "GET "), "/")))
		var links []string
		page.Eval(`[...document.querySelectorAll("a[href^='/']")].map(a => a.getAttribute("href"))`, &links)
		for _, link := range links {
			if to, err := url.Parse(link); err == nil && w.missing[w.pattern(to.Path)] {
				paths = append(paths, link)
			}
		}
	}
}

// made looks at the one page that follows a form without an address of its own.
func (w *walk) made(page *browsertest.Page) {
	w.t.Helper()
	page.Go("/account/keys")
	page.Fill("#label", "Tablet")
	page.Submit(`form[action="/account/keys"] button.main`)
	w.hold(page, "account-keys-made")
}

// hold checks what holds for every page.
func (w *walk) hold(page *browsertest.Page, name string) {
	w.t.Helper()
	if page.Count("dialog[open]") > 0 {
		w.picture(page, name+"-dialog")
		page.Press("\x1b")
		page.WaitEval(`!document.querySelector("dialog[open]")`)
	}
	page.Eval(`void document.querySelectorAll("main details").forEach(d => { d.toggleAttribute("data-open", d.open); d.open = true; })`, nil)
	if w.look.axe || screenshots != "" {
		for _, barrier := range page.Barriers() {
			w.t.Errorf("%s: %s", page.Path(), barrier)
		}
	}
	for _, width := range []int64{w.look.Width, 320} {
		page.Resize(width, w.look.Height)
		w.fits(page, width)
	}
	page.Resize(w.look.Width, w.look.Height)
	page.Eval(`void document.querySelectorAll("main details").forEach(d => d.open = d.hasAttribute("data-open"))`, nil)
	w.picture(page, name)
}

// fits checks that nobody has to scroll sideways.
func (w *walk) fits(page *browsertest.Page, width int64) {
	w.t.Helper()
	var wide []string
	page.Eval(`document.documentElement.scrollWidth <= innerWidth ? [] :
		[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map(e => e.outerHTML.slice(0, 150))`, &wide)
	if len(wide) > 0 {
		w.t.Errorf("%s is wider than %d pixels: %q", page.Path(), width, wide)
	}
}

func (w *walk) picture(page *browsertest.Page, name string) {
	w.t.Helper()
	if screenshots == "" {
		return
	}
	// Pictures of cameras are waited for, but one that is away has none.
	page.Eval(`Promise.race([new Promise(r => setTimeout(r, 8000)), (async () => {
		while (![...document.querySelectorAll("video")].every(v => v.readyState >= 2 || v.hidden || !v.checkVisibility()) ||
			![...document.images].every(i => i.complete || !i.checkVisibility())) await new Promise(r => setTimeout(r, 100));
	})()]).then(() => true)`, nil)
	file := filepath.Join(screenshots, w.look.name, name+".png")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, page.Screenshot(), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.t.Logf("%s", file)
}

// complete checks that every page was seen.
func (w *walk) complete() {
	w.t.Helper()
	for _, elsewhere := range []string{
		"GET /{$}",                                            // leads to another
		"GET /enter",                                          // of links that a program prints
		"GET /register/code",                                  // for those who have not proven an address
		"GET /setup", "GET /setup/camera", "GET /setup/share", // of a server without accounts
		"GET /enter", // from the demo
	} {
		delete(w.missing, elsewhere)
	}
	var list []string
	for pattern := range w.missing {
		list = append(list, pattern)
	}
	slices.Sort(list)
	if len(list) > 0 {
		w.t.Errorf("no link leads to %s", strings.Join(list, ", "))
	}
}
