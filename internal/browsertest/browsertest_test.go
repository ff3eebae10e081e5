package browsertest

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// site serves pages by their paths, with a policy that allows the site itself.
func site(t *testing.T, pages map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; connect-src *; img-src * data:; base-uri 'none'")
		page, ok := pages[r.URL.Path]
		switch {
		case r.URL.Path == "/who":
			c, err := r.Cookie("name")
			if err != nil {
				c = &http.Cookie{Value: "nobody"}
			}
			page = c.Value + " reads " + r.Header.Get("Accept-Language")
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			return
		case strings.HasSuffix(r.URL.Path, ".css"):
			w.Header().Set("Content-Type", "text/css")
			fmt.Fprint(w, page)
			return
		case strings.HasSuffix(r.URL.Path, ".js"):
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, page)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!doctype html><title>x</title><link rel=icon href=data:,>"+page)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestBrowserFindsFaults: each thing that no page may do is found, and nothing else.
func TestBrowserFindsFaults(t *testing.T) {
	t.Parallel()
	origin := site(t, map[string]string{
		"/good":      `<p>good</p><script type=module src=/good.js></script>`,
		"/good.js":   `await fetch("/missing"); document.querySelector("p").textContent = "done";`,
		"/throws":    `<script src=/throws.js></script>`,
		"/throws.js": `throw new Error("no script caught me")`,
		"/rejects":   `<script src=/reject.js></script>`,
		"/reject.js": `Promise.reject(new Error("nobody awaits me"))`,
		"/console":   `<script src=/console.js></script>`,
		"/console.js": `console.error("on the console");
			console.warn("a warning is none");`,
		"/inline":    `<script>document.title = "run"</script>`,
		"/style":     `<p style="color: red">x`,
		"/asset":     `<script src=/none.js></script>`,
		"/elsewhere": `<img src="http://127.0.0.2:9/x.png">`,
		"/socket":    `<script src=/socket.js></script>`,
		"/socket.js": `new WebSocket("ws://127.0.0.2:9/x")`,
	})
	somebody := New(t, origin, Look{})
	for path, want := range map[string]string{
		"/good": "", "/throws": "no script caught me", "/rejects": "nobody awaits me", "/console": "on the console",
		"/inline": "violates the following Content Security Policy directive", "/style": "Content Security Policy", "/asset": "none.js answered 404",
		"/elsewhere": "a request to elsewhere: http://127.0.0.2:9/x.png", "/socket": "ws://127.0.0.2:9/x",
	} {
		page := somebody.Open(path)
		if want == "" {
			page.WaitText("done")
		}
		deadline := time.Now().Add(patience)
		var found []string
		for want != "" && !strings.Contains(strings.Join(found, "\n"), want) && time.Now().Before(deadline) {
			found = append(found, page.Faults()...)
			time.Sleep(time.Millisecond)
		}
		if all := strings.Join(found, "\n"); !strings.Contains(all, want) || want == "" && all != "" {
			t.Errorf("%s: found %q, want %q", path, all, want)
		}
		page.Allow("") // all of it was meant
		page.Close()
	}
}

// TestBrowserKeepsPeopleApart: two people share no cookie, and each has the language, the size and
// the colours that it asked for.
func TestBrowserKeepsPeopleApart(t *testing.T) {
	t.Parallel()
	origin := site(t, nil)
	dark := Phone
	dark.Dark, dark.Language = true, "de"
	olga, rita := New(t, origin, Look{}), New(t, origin, dark)
	first := olga.Open("/who")
	first.WaitText("nobody reads en")
	first.Eval(`void (document.cookie = "name=olga")`, nil)
	olga.Open("/who").WaitText("olga reads en") // in another tab
	second := rita.Open("/who")
	second.WaitText("nobody reads de")
	second.WaitEval(`matchMedia("(prefers-color-scheme: dark)").matches && navigator.language === "de" && !document.hidden`)
	first.WaitEval(`!matchMedia("(prefers-color-scheme: dark)").matches && !document.hidden && innerWidth === 1280`)
	picture, err := png.DecodeConfig(bytes.NewReader(second.Screenshot()))
	if err != nil || picture.Width != int(Phone.Width) {
		t.Errorf("the picture is %+v, %v", picture, err)
	}
}

// TestBrowserActs: clicks, values and keys reach a page as those of people do.
func TestBrowserActs(t *testing.T) {
	t.Parallel()
	page := New(t, site(t, map[string]string{
		"/": `<form action=/next><label for=a>Name</label><input id=a name=a><label><input type=checkbox name=b> Tick</label>
			<div id=hold>hold</div><output></output><button>Go on</button></form><script type=module src=/act.js></script>`,
		"/act.js": `const out = document.querySelector("output"), add = w => out.append(w + " ");
			const hold = document.querySelector("#hold");
			hold.onpointerdown = () => add("down"); hold.onpointerup = () => add("up");
			document.onkeydown = e => add(e.key); document.onkeyup = e => add("/" + e.key);
			document.querySelector("#a").oninput = e => add(e.target.value);`,
		"/next": `<p>next</p>`,
	}), Look{}).Open("/")
	page.Fill("#a", `a "name"`)
	page.WaitTextIn("output", `a "name"`)
	page.Click("text=Tick")
	page.Hold("#hold", func() { page.WaitTextIn("output", "down") })
	page.WaitTextIn("output", "up")
	page.Eval("document.activeElement.blur()", nil)
	page.HoldKey('t', func() { page.WaitTextIn("output", "t") })
	page.WaitTextIn("output", "/t")
	page.Press(kb.Escape)
	page.WaitTextIn("output", "Escape /Escape")
	page.Submit("text=Go on")
	if got := page.Path(); got != "/next?a=a+%22name%22&b=on" {
		t.Errorf("the form led to %s", got)
	}
}

// TestBrowserMicrophone: a page hears it if the person allows that.
func TestBrowserMicrophone(t *testing.T) {
	t.Parallel()
	origin := site(t, map[string]string{"/": "<p>x"})
	hears := `navigator.mediaDevices.getUserMedia({audio: true}).then(s => { s.getTracks().forEach(t => t.stop()); return "hears"; }, e => e.name)`
	for want, permit := range map[string]func(*Person){"hears": (*Person).AllowMicrophone, "NotAllowedError": (*Person).RefuseMicrophone} {
		somebody := New(t, origin, Look{})
		permit(somebody)
		var got string
		if somebody.Open("/").Eval(hears, &got); got != want {
			t.Errorf("the page %s, want %s", got, want)
		}
	}
}

// TestBrowserFindsBarriers: axe runs under the policy of a page and finds what it looks for.
func TestBrowserFindsBarriers(t *testing.T) {
	t.Parallel()
	page := New(t, site(t, map[string]string{
		"/bad":      `<html lang=en><link rel=stylesheet href=/grey.css><main><h1>x</h1><p id=grey>Hardly to be read</p><input><button></button></main>`,
		"/grey.css": "#grey { color: #ccc; background: #fff }",
		"/good":     `<html lang=en><main><h1>x</h1><label>Name <input></label></main>`,
	}), Look{}).Open("/bad")
	found := strings.Join(page.Barriers(), "\n")
	for _, id := range []string{"color-contrast (serious)", "label (critical)", "button-name (critical)"} {
		if !strings.Contains(found, id) {
			t.Errorf("%s is not in %s", id, found)
		}
	}
	page.Go("/good")
	if found := page.Barriers(); len(found) > 0 {
		t.Errorf("found %q", found)
	}
}
