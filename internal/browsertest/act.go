package browsertest

import (
	"errors"
	"fmt"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// finder is a script that finds the element of a selector: a CSS selector, or, as
// "text=Save", a button, link, label or summary by the words on it.
const finder = `(selector => {
	const words = e => (e.innerText || e.value || e.getAttribute("aria-label") || "").trim().replace(/\s+/g, " ");
	if (!selector.startsWith("text=")) return document.querySelector(selector);
	const text = selector.slice(5);
	const found = [...document.querySelectorAll("dialog[open] *, *")].filter(e =>
		e.matches("button, a, summary, label, [role=button], [role=tab], input[type=submit]") && words(e) === text && e.checkVisibility());
	return found.find(e => e.closest("dialog[open]")) || found[0];
})`

// point returns where a mouse has to be to click on an element: it is scrolled into view
// first, and must be neither hidden nor disabled, nor covered by another.
func (g *Page) point(selector string) (x, y float64) {
	g.t.Helper()
	g.until("pointing at "+selector, func() error {
		var at struct {
			X, Y float64
			Why  string
		}
		err := g.try(`(selector => {
			const e = `+finder+`(selector);
			if (!e) return {why: "there is none"};
			if (e.disabled) return {why: "it is disabled"};
			e.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
			const box = [...e.getClientRects()].find(r => r.width > 0 && r.height > 0);
			if (!box) return {why: "it is not visible"};
			const x = box.left + box.width / 2, y = box.top + box.height / 2;
			const top = document.elementFromPoint(x, y);
			if (!top || !(e.contains(top) || top.contains(e) && e.matches("input") || top.closest("label")?.control === e))
				return {why: "it is covered by " + (top ? top.outerHTML.slice(0, 120) : "nothing")};
			return {x, y, why: ""};
		})(`+quoted(selector)+`)`, &at)
		if err == nil && at.Why != "" {
			err = errors.New(at.Why)
		}
		x, y = at.X, at.Y
		return err
	})
	return x, y
}

// Click clicks on an element as a mouse does. The selector is a CSS selector, or
// "text=Save" for a button, link, label or summary by its words.
func (g *Page) Click(selector string) {
	g.t.Helper()
	x, y := g.point(selector)
	g.mouse(input.DispatchMouseEventTypeMouseMoved, x, y)
	g.mouse(input.DispatchMouseEventTypeMousePressed, x, y)
	g.mouse(input.DispatchMouseEventTypeMouseReleased, x, y)
}

// Submit clicks on an element that leads to another page, and waits until that has loaded.
func (g *Page) Submit(selector string) {
	g.t.Helper()
	g.Leads(func() { g.t.Helper(); g.Click(selector) })
}

// Leads does something that leads to another page, and waits until that has loaded.
func (g *Page) Leads(do func()) {
	g.t.Helper()
	g.Eval("void (window.__before = true)", nil)
	do()
	g.WaitEval(`!window.__before && document.readyState === "complete"`)
}

// mouse moves the mouse, or presses or lets go of its left button.
func (g *Page) mouse(kind input.DispatchMouseEventType, x, y float64) {
	g.t.Helper()
	event := input.DispatchMouseEventParams{Type: kind, X: x, Y: y, Button: input.MouseButtonLeft}
	switch {
	case kind == input.DispatchMouseEventTypeMouseMoved && !g.pressed:
		event.Button = input.MouseButtonNone
	case kind != input.DispatchMouseEventTypeMouseMoved:
		g.pressed = kind == input.DispatchMouseEventTypeMousePressed
		event.ClickCount = 1
	}
	if g.pressed {
		event.Buttons = 1
	}
	if _, err := call(g, input.DispatchMouseEvent, event); err != nil {
		g.t.Fatalf("the mouse: %v", err)
	}
}

// Hold presses the mouse on an element, does something, and lets go.
func (g *Page) Hold(selector string, do func()) {
	g.t.Helper()
	x, y := g.point(selector)
	g.mouse(input.DispatchMouseEventTypeMouseMoved, x, y)
	g.mouse(input.DispatchMouseEventTypeMousePressed, x, y)
	do()
	g.mouse(input.DispatchMouseEventTypeMouseReleased, x, y)
}

// Drag presses the mouse at a place within an element, as parts of its width and height
// from 0 to 1, and lets go at another.
func (g *Page) Drag(selector string, fromX, fromY, toX, toY float64) {
	g.t.Helper()
	g.point(selector)
	var box struct{ X, Y, Width, Height float64 }
	g.Eval(finder+"("+quoted(selector)+").getBoundingClientRect().toJSON()", &box)
	at := func(kind input.DispatchMouseEventType, part float64) {
		x, y := fromX+(toX-fromX)*part, fromY+(toY-fromY)*part
		g.mouse(kind, box.X+x*box.Width, box.Y+y*box.Height)
	}
	at(input.DispatchMouseEventTypeMouseMoved, 0)
	at(input.DispatchMouseEventTypeMousePressed, 0)
	for _, part := range []float64{0.25, 0.5, 0.75, 1} {
		at(input.DispatchMouseEventTypeMouseMoved, part)
	}
	at(input.DispatchMouseEventTypeMouseReleased, 1)
}

// Fill puts a value into a field, as somebody does who types or pastes it.
func (g *Page) Fill(selector, value string) {
	g.t.Helper()
	g.until("filling "+selector, func() error {
		var why string
		err := g.try(fmt.Sprintf(`((selector, value) => {
			const e = document.querySelector(selector);
			if (!e) return "there is none";
			if (e.disabled || e.readOnly) return "it cannot be changed";
			if (!e.checkVisibility()) return "it is not visible";
			e.focus();
			Object.getOwnPropertyDescriptor(Object.getPrototypeOf(e), "value").set.call(e, value);
			e.dispatchEvent(new Event("input", {bubbles: true}));
			e.dispatchEvent(new Event("change", {bubbles: true}));
			return "";
		})(%s, %s)`, quoted(selector), quoted(value)), &why)
		if err == nil && why != "" {
			err = errors.New(why)
		}
		return err
	})
}

// Press presses a key: a character, or a key of chromedp/kb such as kb.Escape.
func (g *Page) Press(key string) {
	g.t.Helper()
	g.Do(chromedp.KeyEvent(key))
}

// HoldKey presses a key such as "t", does something, and lets it go.
func (g *Page) HoldKey(key rune, do func()) {
	g.t.Helper()
	events := kb.Encode(key) // down, the character, up
	send := func(e *input.DispatchKeyEventParams) {
		g.t.Helper()
		if _, err := call(g, input.DispatchKeyEvent, *e); err != nil {
			g.t.Fatalf("the key %q: %v", key, err)
		}
	}
	for _, e := range events[:len(events)-1] {
		send(e)
	}
	do()
	send(events[len(events)-1])
}
