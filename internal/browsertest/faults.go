package browsertest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// faults collects what a tab does wrong.
type faults struct {
	origin string

	mu      sync.Mutex
	list    []string
	allowed []string
	console []string // the last lines of it, for tests that failed
}

func (f *faults) add(format string, args ...any) {
	fault := fmt.Sprintf(format, args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) < 20 && !slices.ContainsFunc(f.allowed, func(part string) bool { return strings.Contains(fault, part) }) {
		f.list = append(f.list, fault)
	}
}

// note keeps the last lines of the console.
func (f *faults) note(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.console = append(f.console, line)
	f.console = f.console[max(0, len(f.console)-30):]
}

func (f *faults) lines() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.console, "\n")
}

func (f *faults) allow(part string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.allowed = append(f.allowed, part)
	f.list = slices.DeleteFunc(f.list, func(fault string) bool { return strings.Contains(fault, part) })
}

func (f *faults) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

func (f *faults) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.list
	f.list = nil
	return list
}

// listen hears the events of the tab.
func (f *faults) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		// The browser says so itself when a page took long and is shown without its view
		// transition.
		if fault := thrown(e.ExceptionDetails); !strings.Contains(fault, "Transition was ") {
			f.add("an error that no script caught: %s", fault)
		}
	case *runtime.EventConsoleAPICalled:
		f.note(said(e.Args))
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
			f.add("an error on the console: %s", said(e.Args))
		}
	case *log.EventEntryAdded:
		// Answers with an error are judged below; the API's refusals are among them.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			f.add("the browser complains (%s): %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !f.own(url) {
			f.add("a request to elsewhere: %s", url)
		}
	case *network.EventWebSocketCreated:
		if !f.own(strings.Replace(e.URL, "ws", "http", 1)) {
			f.add("a connection to elsewhere: %s", e.URL)
		}
	case *network.EventLoadingFailed:
		if e.BlockedReason != "" {
			f.add("the browser refused to load a %s: %s", e.Type, e.BlockedReason)
		}
	case *network.EventResponseReceived:
		status, asset := e.Response.Status, e.Type == network.ResourceTypeScript || e.Type == network.ResourceTypeStylesheet || e.Type == network.ResourceTypeFont
		if asset && status >= http.StatusBadRequest || e.Type == network.ResourceTypeDocument && status >= http.StatusInternalServerError {
			f.add("%s answered %d", e.Response.URL, status)
		}
	}
}

// own reports whether an address needs nobody but the server.
func (f *faults) own(url string) bool {
	return url == f.origin || strings.HasPrefix(url, f.origin+"/") ||
		strings.HasPrefix(url, "data:") || strings.HasPrefix(url, "blob:") || strings.HasPrefix(url, "about:")
}

func said(args []*runtime.RemoteObject) string {
	var words []string
	for _, a := range args {
		if a.Description != "" {
			words = append(words, a.Description)
		} else {
			words = append(words, string(a.Value))
		}
	}
	return strings.Join(words, " ")
}

// thrown returns what an exception says.
func thrown(e *runtime.ExceptionDetails) string {
	if e.Exception != nil && e.Exception.Description != "" {
		return e.Exception.Description
	}
	return fmt.Sprintf("%s (%s, line %d)", e.Text, e.URL, e.LineNumber+1)
}
