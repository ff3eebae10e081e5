package api

import (
	"bytes"
	"cmp"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"latchkey/api/portal"
)

// newPortalWorld is a world with the portal in front.
func newPortalWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	var w *world
	w = newWorld(t, append(change, func(c *Config) {
		p, err := portal.New(portal.Config{
			API:    http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.server.Handler().ServeHTTP(rw, r) }),
			Logger: c.Logger, Now: c.Now, Pseudo: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Portal = p
	})...)
	return w
}

// browser is somebody who clicks: it keeps cookies, follows redirects, and sends the forms
// of the pages that it got. Each page that it gets is held against the rules for all.
type browser struct {
	w       *world
	cookies map[string]string
	accept  string // languages
	origin  string // of requests; "" for none
	set     []string
	headers map[string]string // more of each request
}

func (w *world) browser() *browser { return &browser{w: w, cookies: map[string]string{}, accept: "en"} }

// webPage is what a browser shows.
type webPage struct {
	b      *browser
	status int
	path   string // with the query
	header http.Header
	body   string
	doc    *html.Node
}

func (b *browser) request(method, path string, form url.Values) *httptest.ResponseRecorder {
	b.w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	r.Header.Set("Accept-Language", b.accept)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.origin != "" {
		r.Header.Set("Origin", b.origin)
	}
	for name, value := range b.headers {
		r.Header.Set(name, value)
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	a := httptest.NewRecorder()
	b.w.server.Handler().ServeHTTP(a, r)
	for _, c := range a.Result().Cookies() {
		b.set = append(b.set, c.Raw)
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return a
}

func (b *browser) open(method, path string, form url.Values) webPage {
	b.w.t.Helper()
	a := b.request(method, path, form)
	for range 5 {
		to := a.Header().Get("Location")
		if to == "" {
			break
		}
		if a.Code != http.StatusSeeOther {
			b.w.t.Errorf("%s %s redirects with %d", method, path, a.Code)
		}
		method, path = http.MethodGet, to
		a = b.request(method, path, nil)
	}
	doc, err := html.ParseWithOptions(bytes.NewReader(a.Body.Bytes()), html.ParseOptionEnableScripting(false)) // what is for browsers without scripts is read too
	if err != nil {
		b.w.t.Fatal(err)
	}
	p := webPage{b, a.Code, path, a.Header(), a.Body.String(), doc}
	p.hold()
	return p
}

func (b *browser) get(path string) webPage {
	b.w.t.Helper()
	return b.open(http.MethodGet, path, nil)
}

// all returns the elements for which a condition holds.
func (p webPage) all(is func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	for n := range p.doc.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			found = append(found, n)
		}
	}
	return found
}

func attrOf(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func attrValue(n *html.Node, name string) string { v, _ := attrOf(n, name); return v }

func elements(names ...string) func(*html.Node) bool {
	return func(n *html.Node) bool { return slices.Contains(names, n.Data) }
}

// spaced takes back the spaces between elements that are written without.
var spaced = strings.NewReplacer("( ", "(", " )", ")", " ,", ",", " .", ".")

// textOf is what people read in an element.
func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "script" && d.Parent.Data != "style" {
			b.WriteString(d.Data)
			b.WriteString(" ")
		}
	}
	return spaced.Replace(strings.Join(strings.Fields(b.String()), " "))
}

// main is what the page itself says.
func (p webPage) main() string {
	p.b.w.t.Helper()
	found := p.all(elements("main"))
	if len(found) != 1 {
		p.b.w.t.Fatalf("%s has %d main parts: %s", p.path, len(found), p.body)
	}
	return textOf(found[0])
}

func (p webPage) want(status int, path string, texts ...string) webPage {
	p.b.w.t.Helper()
	if p.status != status || p.path != path {
		p.b.w.t.Fatalf("%d at %s: %s; want %d at %s", p.status, p.path, p.main(), status, path)
	}
	for _, text := range texts {
		if !strings.Contains(p.main(), text) {
			p.b.w.t.Errorf("%s lacks %q: %s", p.path, text, p.main())
		}
	}
	return p
}

func (p webPage) lacks(texts ...string) webPage {
	p.b.w.t.Helper()
	for _, text := range texts {
		if strings.Contains(p.body, text) {
			p.b.w.t.Errorf("%s has %q", p.path, text)
		}
	}
	return p
}

// form returns the values of a form as the page has them.
func (p webPage) form(action string) url.Values {
	p.b.w.t.Helper()
	forms := p.all(func(n *html.Node) bool { return n.Data == "form" && attrValue(n, "action") == action })
	slices.SortStableFunc(forms, func(a, b *html.Node) int { return -cmp.Compare(attrValue(a, "method"), attrValue(b, "method")) }) // those that do something, before searches
	if len(forms) == 0 {
		p.b.w.t.Fatalf("%s has no form for %s: %s", p.path, action, p.body)
	}
	values := url.Values{}
	for n := range forms[0].Descendants() {
		name := attrValue(n, "name")
		_, off := attrOf(n, "disabled")
		if name == "" || off {
			continue
		}
		_, checked := attrOf(n, "checked")
		switch kind := attrValue(n, "type"); {
		case n.Data == "input" && kind != "radio" && kind != "checkbox", n.Data == "input" && checked:
			values.Add(name, attrValue(n, "value"))
		case n.Data == "textarea":
			values.Add(name, textOf(n))
		case n.Data == "select":
			values.Add(name, chosenOf(n))
		}
	}
	return values
}

func chosenOf(n *html.Node) string {
	first, found := "", false
	for o := range n.Descendants() {
		if o.Data != "option" {
			continue
		}
		if _, ok := attrOf(o, "selected"); ok {
			return attrValue(o, "value")
		}
		if !found {
			first, found = attrValue(o, "value"), true
		}
	}
	return first
}

// submit sends a form of the page with values, as pairs; those of the page stay otherwise.
func (p webPage) submit(action string, pairs ...string) webPage {
	p.b.w.t.Helper()
	values := p.form(action)
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return p.b.open(http.MethodPost, action, values)
}

var (
	inlineHandler = regexp.MustCompile(`^on[a-z]+$`)
	twoLetters    = regexp.MustCompile(`\pL{2}`)
)

// hold checks what holds for every page.
func (p webPage) hold() {
	t := p.b.w.t
	t.Helper()
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf(p.path+" ("+strconv.Itoa(p.status)+"): "+format, args...)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "same-origin", "X-Frame-Options": "DENY", "Vary": "Cookie, Accept-Language",
	} {
		if got := p.header.Get(name); got != want {
			wrong("%s is %q", name, got)
		}
	}
	policy := p.header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'", "media-src 'self' blob:;"} {
		if !strings.Contains(policy, part) {
			wrong("the policy lacks %s: %s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		wrong("the policy is %s", policy)
	}
	if len(p.body) > 400<<10 {
		wrong("%d bytes", len(p.body))
	}
	root := p.all(elements("html"))[0]
	if attrValue(root, "lang") == "" {
		wrong("no language")
	}
	if title := p.all(elements("title")); len(title) != 1 || len(textOf(title[0])) < len("x · Latchkey") {
		wrong("no title")
	}
	if n := len(p.all(elements("h1"))); n != 1 {
		wrong("%d h1", n)
	}
	p.holdElements(wrong)
	p.holdForms(wrong)
	if attrValue(root, "lang") == "en-XA" {
		p.holdWords(wrong)
	}
}

func (p webPage) holdElements(wrong func(string, ...any)) {
	p.b.w.t.Helper()
	ids := map[string]int{}
	for n := range p.doc.Descendants() {
		if id, ok := attrOf(n, "id"); ok {
			ids[id]++
		}
	}
	for id, n := range ids {
		if n > 1 || id == "" || strings.ContainsAny(id, " \t") {
			wrong("%d elements have the id %q", n, id)
		}
	}
	for n := range p.doc.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "style" || inlineHandler.MatchString(a.Key) || strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
				wrong("<%s> has %s=%q", n.Data, a.Key, a.Val)
			}
			if strings.Contains(a.Val, "ZgotmplZ") {
				wrong("<%s> has a value that the templates refused", n.Data)
			}
			for _, id := range strings.Fields(a.Val) {
				if slices.Contains([]string{"aria-describedby", "aria-labelledby", "aria-controls", "for", "form"}, a.Key) && ids[id] != 1 {
					wrong("<%s %s=%q> names nothing", n.Data, a.Key, a.Val)
				}
			}
			if (a.Key == "src" || a.Key == "href") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "?") {
				wrong("<%s> leads to %s", n.Data, a.Val)
			}
		}
		switch n.Data {
		case "style":
			wrong("an inline style")
		case "script":
			if attrValue(n, "type") == "application/json" { // data, which no browser runs
				continue
			}
			if attrValue(n, "src") == "" || n.FirstChild != nil {
				wrong("an inline script")
			}
		case "img":
			if _, ok := attrOf(n, "alt"); !ok {
				wrong("an image without alt")
			}
		case "button", "a":
			if n.Type == html.ElementNode && textOf(n) == "" && attrValue(n, "aria-label") == "" {
				wrong("<%s> without words", n.Data)
			}
		}
	}
}

func (p webPage) holdForms(wrong func(string, ...any)) {
	p.b.w.t.Helper()
	labelled := map[string]bool{}
	for _, l := range p.all(elements("label")) {
		if textOf(l) == "" {
			wrong("an empty label")
		}
		labelled[attrValue(l, "for")] = true
	}
	for _, f := range p.all(elements("form")) {
		if attrValue(f, "method") == "post" && !slices.ContainsFunc(p.inside(f), func(n *html.Node) bool { return attrValue(n, "name") == "csrf" && attrValue(n, "value") != "" }) {
			wrong("the form for %s has no token", attrValue(f, "action"))
		}
		if attrValue(f, "action") == "" {
			wrong("a form without an action")
		}
	}
	for _, field := range p.all(elements("input", "select", "textarea")) {
		id, kind := attrValue(field, "id"), attrValue(field, "type")
		if kind == "hidden" || labelled[id] && id != "" || attrValue(field, "aria-label") != "" || attrValue(field, "aria-labelledby") != "" || isWithin(field, "label") {
			continue
		}
		wrong("the field %s has no label", attrValue(field, "name"))
	}
	for _, field := range p.all(func(n *html.Node) bool { return attrValue(n, "type") == "password" }) {
		if attrValue(field, "value") != "" {
			wrong("a password is sent back")
		}
	}
}

func (p webPage) inside(of *html.Node) []*html.Node {
	var list []*html.Node
	for n := range of.Descendants() {
		list = append(list, n)
	}
	return list
}

func isWithin(n *html.Node, name string) bool {
	for n = n.Parent; n != nil; n = n.Parent {
		if n.Data == name {
			return true
		}
	}
	return false
}

// holdWords finds text that is not in the catalogue: in the language for tests, all that is
// is marked. What people named is in <bdi>, <code> or a field.
func (p webPage) holdWords(wrong func(string, ...any)) {
	p.b.w.t.Helper()
	for n := range p.doc.Descendants() {
		if n.Type != html.TextNode || !twoLetters.MatchString(n.Data) || isWithin(n, "script") || isWithin(n, "bdi") || isWithin(n, "code") || isWithin(n, "time") || isWithin(n, "select") || isWithin(n, "title") || isWithin(n, "textarea") {
			continue
		}
		if n.Parent.Data != "p" || attrValue(n.Parent, "class") != "brand" {
			if !strings.Contains(n.Data, "⟦") {
				wrong("words that are not in the catalogue: %q", n.Data)
			}
		}
	}
}
