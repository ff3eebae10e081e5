package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
)

// patience bounds every wait for something that must happen. It says nothing about how
// fast that should be.
const patience = 90 * time.Second

// Page is a tab. Its methods are for the goroutine of the test.
type Page struct {
	t      testing.TB
	person *Person
	ctx    context.Context
	faults *faults
	cancel context.CancelFunc

	closed  bool
	pressed bool // the button of the mouse
}

// Open opens a path of the server in a new tab.
func (p *Person) Open(path string) *Page {
	p.t.Helper()
	g := &Page{t: p.t, person: p, faults: &faults{origin: p.origin}}
	g.ctx, g.cancel = chromedp.NewContext(p.ctx, chromedp.WithListener(g.faults.listen))
	p.t.Cleanup(g.end)
	if err := chromedp.Do(g.ctx, chromedp.Func(p.look.apply), chromedp.Func(p.trust)); err != nil {
		p.t.Fatalf("opening a tab: %v", err)
	}
	g.Go(path)
	return g
}

func (l Look) apply(ctx context.Context, tab *chromedp.Target) error {
	scheme := "light"
	if l.Dark {
		scheme = "dark"
	}
	motion := "reduce"
	if l.Motion {
		motion = "no-preference"
	}
	agent, err := chromedp.Evaluate[string]("navigator.userAgent")(ctx, tab)
	if err != nil {
		return err
	}
	_, size := cdp.Call(ctx, tab, emulation.SetDeviceMetricsOverride,
		emulation.SetDeviceMetricsOverrideParams{Width: l.Width, Height: l.Height, DeviceScaleFactor: 1, Mobile: l.Touch})
	_, touch := cdp.Call(ctx, tab, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: l.Touch})
	_, media := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: motion},
	}})
	_, language := cdp.Call(ctx, tab, emulation.SetUserAgentOverride,
		emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: l.Language})
	_, age := cdp.Call(ctx, tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: l.older()})
	return errors.Join(size, touch, media, language, age)
}

// trust lets the tab open a server whose authority the browser does not know.
func (p *Person) trust(ctx context.Context, tab *chromedp.Target) error {
	_, err := cdp.Call(ctx, tab, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: strings.HasPrefix(p.origin, "https:")})
	return err
}

// older is a script that takes away what the browser lacks.
func (l Look) older() string {
	var b strings.Builder
	for _, name := range l.Lacks {
		fmt.Fprintf(&b, "delete globalThis.%s;\n", name)
	}
	return b.String()
}

// call sends a command of the protocol to the tab.
func call[P, R any](g *Page, command cdp.Command[P, R], params P) (R, error) {
	ctx, cancel := context.WithTimeout(g.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, func(ctx context.Context, tab *chromedp.Target) (R, error) {
		return cdp.Call(ctx, tab, command, params)
	})
}

// Go leads the tab to a path of the server, and waits until the page has loaded.
func (g *Page) Go(path string) {
	g.t.Helper()
	result, err := call(g, page.Navigate, page.NavigateParams{URL: g.person.origin + path})
	if err == nil && result.ErrorText != "" {
		err = errors.New(result.ErrorText)
	}
	if err != nil {
		g.t.Fatalf("opening %s: %v", path, err)
	}
	g.loaded()
}

// loaded waits until the document and its modules have loaded.
func (g *Page) loaded() {
	g.t.Helper()
	g.WaitEval(`document.readyState === "complete"`)
}

// Close closes the tab. What it did wrong fails the test now.
func (g *Page) Close() {
	g.t.Helper()
	g.end()
}

func (g *Page) end() {
	g.t.Helper()
	if g.closed {
		return
	}
	g.closed = true
	if g.t.Failed() && g.ctx.Err() == nil {
		g.show()
	}
	g.cancel()
	for _, fault := range g.faults.all() {
		g.t.Error(fault)
	}
}

// show logs what the page shows, for a test that has failed.
func (g *Page) show() {
	ctx, cancel := context.WithTimeout(g.ctx, 5*time.Second)
	defer cancel()
	type page struct{ Path, Text string }
	seen, err := chromedp.Run(ctx, chromedp.Evaluate[page](`({path: location.pathname + location.search, text: document.body.innerText})`))
	if err != nil {
		g.t.Logf("the tab shows nothing: %v", err)
		return
	}
	g.t.Logf("the tab is at %s and shows:\n%s\nits console:\n%s", seen.Path, seen.Text, g.faults.lines())
}

// Allow takes faults that contain a text for right in this tab from now on.
func (g *Page) Allow(text string) { g.faults.allow(text) }

// Faults returns what the tab did wrong so far, and forgets it.
func (g *Page) Faults() []string { return g.faults.take() }

// try evaluates an expression once. It waits for a promise.
func (g *Page) try(expression string, value any) error {
	yes := true
	got, err := call(g, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ReturnByValue: &yes, AwaitPromise: &yes})
	switch {
	case err != nil:
		return err
	case got.ExceptionDetails != nil:
		return errors.New(thrown(got.ExceptionDetails))
	case value == nil || len(got.Result.Value) == 0:
		return nil
	}
	return json.Unmarshal(got.Result.Value, value)
}

// Eval evaluates an expression in the page, awaits it if it is a promise, and stores its
// JSON in value, unless that is nil.
func (g *Page) Eval(expression string, value any) {
	g.t.Helper()
	if err := g.try(expression, value); err != nil {
		g.t.Fatalf("evaluating %s: %v", expression, err)
	}
}

// WaitEval waits until an expression is true.
func (g *Page) WaitEval(expression string) {
	g.t.Helper()
	g.until(expression, func() error {
		var is bool
		err := g.try("Boolean("+expression+")", &is)
		if err == nil && !is {
			err = errors.New("it is not so")
		}
		return err
	})
}

// until tries something until it succeeds. Pages change between two tries.
func (g *Page) until(what string, try func() error) {
	g.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("not within %v: %s: %v", patience, what, err)
		}
		if g.ctx.Err() != nil {
			g.t.Fatalf("%s: the tab is closed", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Path returns the path of the page, with the query.
func (g *Page) Path() (path string) {
	g.t.Helper()
	g.Eval("location.pathname + location.search", &path)
	return path
}

// Text returns what people read in the first element of a CSS selector.
func (g *Page) Text(selector string) (text string) {
	g.t.Helper()
	g.until("reading "+selector, func() error {
		return g.try(fmt.Sprintf("document.querySelector(%s).innerText", quoted(selector)), &text)
	})
	return text
}

// Count returns how many elements of a CSS selector the page has.
func (g *Page) Count(selector string) (n int) {
	g.t.Helper()
	g.Eval(fmt.Sprintf("document.querySelectorAll(%s).length", quoted(selector)), &n)
	return n
}

// WaitText waits until people can read a text on the page.
func (g *Page) WaitText(text string) {
	g.t.Helper()
	g.WaitEval(fmt.Sprintf("document.body.innerText.includes(%s)", quoted(text)))
}

// WaitTextIn waits until people can read a text in an element of a CSS selector.
func (g *Page) WaitTextIn(selector, text string) {
	g.t.Helper()
	g.WaitEval(fmt.Sprintf("[...document.querySelectorAll(%s)].some(e => e.innerText.includes(%s))", quoted(selector), quoted(text)))
}

// Screenshot returns the whole page as PNG, in a window that is high enough for it: what
// sticks to the edges of a window is then at those of the picture.
func (g *Page) Screenshot() (png []byte) {
	g.t.Helper()
	width, height := g.person.look.Width, g.person.look.Height
	metrics, err := call(g, page.GetLayoutMetrics, cdp.Empty{})
	if err != nil {
		g.t.Fatalf("measuring %s: %v", g.Path(), err)
	}
	g.Resize(width, max(height, int64(math.Ceil(metrics.CSSContentSize.Height))))
	got, err := call(g, page.CaptureScreenshot, page.CaptureScreenshotParams{})
	if err != nil {
		g.t.Fatalf("taking a picture of %s: %v", g.Path(), err)
	}
	g.Resize(width, height)
	return got.Data
}

// Resize changes the size of the window, in CSS pixels.
func (g *Page) Resize(width, height int64) {
	g.t.Helper()
	_, err := call(g, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: g.person.look.Touch,
	})
	if err != nil {
		g.t.Fatalf("resizing the window: %v", err)
	}
}

// Offline cuts the tab off the network, or connects it again.
func (g *Page) Offline(off bool) {
	g.t.Helper()
	_, err := call(g, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: off, DownloadThroughput: -1, UploadThroughput: -1})
	if err != nil {
		g.t.Fatalf("cutting the tab off the network: %v", err)
	}
}

// Do runs actions of chromedp that this package has no word for.
func (g *Page) Do(actions ...chromedp.Action[chromedp.Void]) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		g.t.Fatal(err)
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string always has JSON
	return strings.NewReplacer("\u2028", `\u2028`, "\u2029", `\u2029`).Replace(string(b))
}
