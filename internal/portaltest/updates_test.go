package portaltest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"syscall"
	"testing"

	"latchkey/internal/browsertest"
)

// between is what stands between browsers and the server: it counts the streams of events
// that are open, and can be cut.
type between struct {
	*httptest.Server
	mu    sync.Mutex
	open  map[*http.Request]func()
	most  int
	isCut bool
}

func inBetween(t *testing.T, s *server) *between {
	t.Helper()
	to, err := url.Parse(s.origin)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{open: map[*http.Request]func(){}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !b.begin(r) {
			panic(http.ErrAbortHandler)
		}
		defer b.end(r)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { b.cut(true); b.Close() })
	return b
}

func (b *between) begin(r *http.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.URL.Path == "/do/events" && !b.isCut {
		b.open[r] = nil
		b.most = max(b.most, len(b.open))
	}
	return !b.isCut
}

func (b *between) end(r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, r)
}

// cut lets nothing through any more, or lets it again.
func (b *between) cut(now bool) {
	b.mu.Lock()
	b.isCut = now
	b.mu.Unlock()
	if now {
		b.CloseClientConnections()
	}
}

func (b *between) streams() (now, most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open), b.most
}

// TestBrowserHearsOfChanges: eight tabs of a browser share one connection, which another
// tab takes over when the one that has it is closed; lists and badges change without a
// reload, and what is typed stays; nothing is heard after the session has ended.
func TestBrowserHearsOfChanges(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga, rita := s.register("olga@example.com", "Olga Lind"), s.register("rita@example.com", "Rita Brandt")
	door := olga.add(camera(t, "DS-1"), "Front door")
	garden := olga.add(camera(t, "DS-2"), "Garden")
	share := olga.offer(rita, "The neighbour", []string{door}, "live_view")

	proxy := inBetween(t, s)
	inFront := &server{t: t, origin: proxy.URL, mail: s.mail, done: s.done}
	at := func(a *account) *browsertest.Person {
		return (&account{s: inFront, email: a.email, name: a.name, token: a.token}).browse(browsertest.Look{})
	}
	browser := at(olga)
	s.eventually("nobody listens yet", func() bool { n, _ := proxy.streams(); return n == 0 })
	var tabs []*browsertest.Page
	for range 8 {
		tabs = append(tabs, browser.Open("/my-shares"))
	}
	for _, tab := range tabs {
		tab.WaitTextIn("main", "Invited")
	}
	s.eventually("one stream is open", func() bool { n, _ := proxy.streams(); return n == 1 })

	last := tabs[7]
	last.Fill("#query", "half a na")
	last.Eval(`void (window.stayed = true)`, nil)
	rita.accept(share, door)
	for _, tab := range tabs {
		tab.WaitTextIn("main", "Accepted")
	}
	last.WaitEval(`window.stayed && document.activeElement.id === "query" && document.activeElement.value === "half a na"`)
	if n, most := proxy.streams(); n != 1 || most != 1 {
		t.Errorf("%d streams are open, and %d were at once; want 1", n, most)
	}

	for _, tab := range tabs[:4] { // one of them has the connection
		tab.Close()
	}
	olga.must("POST", "/shares/"+share+"/pause", nil, nil)
	for _, tab := range tabs[4:] {
		tab.WaitTextIn("main", "Paused")
	}
	s.eventually("one stream is open again", func() bool { n, _ := proxy.streams(); return n == 1 })

	// The recipient is told of a new sharing where she is.
	recipient := at(rita).Open("/account")
	recipient.Eval(`void (window.stayed = true)`, nil)
	olga.offer(rita, "The neighbour", []string{garden}, "live_view")
	recipient.WaitTextIn("dialog[open]", "You have 1 new sharing")
	recipient.WaitEval(`window.stayed && document.querySelector(".bar .badge").textContent.startsWith("1")`)
	recipient.Click("#sharings-later")

	// The server cannot be reached, and can again.
	recipient.Allow("Failed to load resource")
	recipient.Allow("ERR_")
	for _, tab := range tabs {
		tab.Allow("Failed to load resource")
		tab.Allow("ERR_")
	}
	proxy.cut(true)
	recipient.WaitTextIn("#offline", "cannot be reached")
	last.WaitTextIn("#offline", "cannot be reached")
	proxy.cut(false)
	recipient.WaitEval(`document.querySelector("#offline").textContent === ""`)

	// Logging out in one tab ends them all.
	last.Go("/account")
	last.Submit(`form[action="/logout"] button`)
	for _, tab := range tabs[4:7] {
		tab.Allow("401")
		tab.WaitEval(`location.pathname === "/login"`)
	}
}

// TestBrowserSaysThatTheServerHangs: a server that keeps its connections and says nothing is
// one that cannot be reached. The page says so before it gives the connection up, and covers
// nothing with it.
func TestBrowserSaysThatTheServerHangs(t *testing.T) {
	t.Parallel()
	s := serve(t)
	olga := s.register("olga@example.com", "Olga Lind")
	proxy := inBetween(t, s)
	inFront := &server{t: t, origin: proxy.URL, mail: s.mail, done: s.done}
	page := (&account{s: inFront, email: olga.email, name: olga.name, token: olga.token}).browse(browsertest.Look{}).Open("/account")
	s.eventually("the stream is open", func() bool { n, _ := proxy.streams(); return n == 1 })
	page.Allow("Failed to load resource")
	page.Allow("ERR_")
	stop := func(sign syscall.Signal) {
		t.Helper()
		if err := s.signal(sign); err != nil {
			t.Fatal(err)
		}
	}
	stop(syscall.SIGSTOP)
	page.WaitTextIn("#offline", "cannot be reached")
	if n, _ := proxy.streams(); n != 1 {
		t.Error("the page says nothing before it has given the connection up")
	}
	page.Eval(`scrollTo(0, document.documentElement.scrollHeight)`, nil)
	page.WaitEval(`(() => {
		const [words, brand] = ["#offline", ".brand"].map((part) => document.querySelector(part).getBoundingClientRect());
		return words.top === 0 && brand.width > 0 && words.left >= brand.right;
	})()`)
	stop(syscall.SIGCONT)
	page.WaitEval(`document.querySelector("#offline").textContent === ""`)
}
