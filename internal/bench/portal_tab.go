package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tabOf is a tab of a browser.
type tabOf struct {
	ctx    context.Context
	origin string
}

// eval evaluates an expression in the page, waits for its promise, and stores its JSON.
func (t *tabOf) eval(expression string, into any) error {
	yes := true
	got, err := send(t, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ReturnByValue: &yes, AwaitPromise: &yes})
	switch {
	case err != nil:
		return err
	case got.ExceptionDetails != nil:
		return fmt.Errorf("evaluating %s: %s", expression, got.ExceptionDetails.Text)
	case into == nil || len(got.Result.Value) == 0:
		return nil
	}
	return json.Unmarshal(got.Result.Value, into)
}

// open leads the tab to a page, and waits until that and its modules have loaded.
func (t *tabOf) open(path string) error {
	if _, err := send(t, page.Navigate, page.NavigateParams{URL: t.origin + path}); err != nil {
		return err
	}
	return t.wait(`document.readyState === "complete"`)
}

// wait waits until an expression is true. Pages may change meanwhile.
func (t *tabOf) wait(expression string) error {
	var err error
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); {
		is := false
		if err = t.eval("Boolean("+expression+")", &is); err == nil && is {
			return nil
		}
		if err := pause(t.ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.Join(fmt.Errorf("after 30 s it is not so: %s", expression), err)
}

func (t *tabOf) login(as string) error {
	if err := t.open("/login"); err != nil {
		return err
	}
	if err := t.eval(fmt.Sprintf(`document.querySelector("[name=login]").value = %q, document.querySelector("[name=password]").value = "a long password",
		document.querySelector("button.main").click()`, as), nil); err != nil {
		return err
	}
	return t.wait(`location.pathname !== "/login" && document.readyState === "complete"`)
}

// before runs a script in every page that the tab opens, before any of the page's own.
func (t *tabOf) before(script string) error {
	_, err := send(t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	return err
}

// hover is how long the mouse of somebody rests before it clicks, and press how long its
// button is down; people take longer.
const hover, press = 100 * time.Millisecond, 50 * time.Millisecond

// click clicks on the middle of an element as a mouse does. What is measured begins at its
// end, when the button goes up.
func (t *tabOf) click(selector string) error {
	var at struct{ X, Y float64 }
	err := t.eval(fmt.Sprintf(`(e => {
		e.scrollIntoView({block: "center", behavior: "instant"})
		const box = e.getBoundingClientRect()
		return {X: box.x + box.width / 2, Y: box.y + box.height / 2}
	})(document.querySelector(%q))`, selector), &at)
	if err != nil {
		return err
	}
	mouse := func(kind input.DispatchMouseEventType, button input.MouseButton, clicks int64) error {
		_, err := send(t, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: at.X, Y: at.Y, Button: button, ClickCount: clicks})
		return err
	}
	return errors.Join(mouse(input.DispatchMouseEventTypeMouseMoved, input.MouseButtonNone, 0), pause(t.ctx, hover),
		mouse(input.DispatchMouseEventTypeMousePressed, input.MouseButtonLeft, 1), pause(t.ctx, press),
		mouse(input.DispatchMouseEventTypeMouseReleased, input.MouseButtonLeft, 1))
}

// send sends a command of the DevTools protocol to the tab.
func send[P, R any](t *tabOf, command cdp.Command[P, R], params P) (R, error) {
	ctx, cancel := context.WithTimeout(t.ctx, 30*time.Second)
	defer cancel()
	return chromedp.Run(ctx, func(ctx context.Context, tab *chromedp.Target) (R, error) {
		return cdp.Call(ctx, tab, command, params)
	})
}
