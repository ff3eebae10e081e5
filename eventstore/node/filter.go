package node

import (
	"bytes"
	"regexp"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// filter selects events of $all by their type or their stream.
type filter struct {
	byStream bool
	prefixes [][]byte
	regex    *regexp.Regexp // nil: by prefix
	interval uint64         // considered events from one checkpoint to the next
}

// Limits on what a client may request.
const (
	maxPrefixes    = 1000
	maxRegex       = 4 << 10
	defaultWindow  = 32
	maxCheckpoints = 1 << 40
)

// newFilter reads a filter, nil if missing. Its regular expression is Go's: without
// backtracking, so its time is linear.
func newFilter(o *streams.ReadReq_Options_FilterOptions) (*filter, error) {
	if o == nil {
		return nil, nil
	}
	f := &filter{}
	var e *streams.ReadReq_Options_FilterOptions_Expression
	switch kind := o.GetFilter().(type) {
	case *streams.ReadReq_Options_FilterOptions_StreamIdentifier:
		f.byStream, e = true, kind.StreamIdentifier
	case *streams.ReadReq_Options_FilterOptions_EventType:
		e = kind.EventType
	default:
		return nil, invalid("a filter is by stream or by event type")
	}
	if err := f.setExpression(e); err != nil {
		return nil, err
	}
	var window uint64
	switch w := o.GetWindow().(type) {
	case *streams.ReadReq_Options_FilterOptions_Max:
		window = uint64(w.Max)
	case *streams.ReadReq_Options_FilterOptions_Count:
		window = defaultWindow
	}
	if window == 0 || o.GetCheckpointIntervalMultiplier() == 0 {
		return nil, invalid("the window and the checkpoint interval of a filter are at least 1")
	}
	f.interval = min(window*uint64(o.GetCheckpointIntervalMultiplier()), maxCheckpoints)
	return f, nil
}

func (f *filter) setExpression(e *streams.ReadReq_Options_FilterOptions_Expression) error {
	if len(e.GetPrefix()) > maxPrefixes || len(e.GetRegex()) > maxRegex {
		return invalid("a filter has at most %d prefixes, or a regular expression of %d bytes", maxPrefixes, maxRegex)
	}
	if e.GetRegex() != "" {
		r, err := regexp.Compile(e.GetRegex())
		if err != nil {
			return invalid("the regular expression of the filter: %v", err)
		}
		f.regex = r
		return nil
	}
	for _, p := range e.GetPrefix() {
		f.prefixes = append(f.prefixes, []byte(p))
	}
	if f.prefixes == nil {
		return invalid("a filter needs a prefix or a regular expression")
	}
	return nil
}

func (f *filter) match(e *event) bool {
	text := e.kind
	if f.byStream {
		text = e.stream
	}
	if f.regex != nil {
		return f.regex.Match(text)
	}
	for _, p := range f.prefixes {
		if bytes.HasPrefix(text, p) {
			return true
		}
	}
	return false
}
