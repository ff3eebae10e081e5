package vod

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestReadOrder(t *testing.T) {
	for text, want := range map[string]string{
		`{"seek":"2026-01-31T10:00:00Z"}`:         "seek 2026-01-31T10:00:00Z",
		`{"seek":"2026-01-31T10:00:00.25+02:00"}`: "seek 2026-01-31T08:00:00.25Z",
		` {"pause":true} `:                        "pause true",
		`{"pause":false}`:                         "pause false",
		`{"speed":8}`:                             "speed 8",
		`{"speed":1.0}`:                           "speed 1",
		`{"speed":3}`:                             "speed is not",
		`{"speed":-1}`:                            "speed is not",
		`{"speed":0}`:                             "speed is not",
		`{"speed":1e99}`:                          "speed is not",
		`{"seek":"2026-01-31"}`:                   "seek is not",
		`{"seek":"1969-12-31T23:59:59Z"}`:         "seek is not",
		`{"seek":"2200-01-01T00:00:00Z"}`:         "seek is not",
		`{"seek":5}`:                              "not an order",
		`{}`:                                      "one of",
		`null`:                                    "one of",
		`{"seek":null}`:                           "one of",
		`{"pause":true,"speed":2}`:                "one of",
		`{"SEEK":"2026-01-31T10:00:00Z"}`:         "not an order",
		`{"Pause":true}`:                          "not an order",
		`{"rewind":true}`:                         "not an order",
		`[]`:                                      "not an order",
		``:                                        "not an order",
		`{"pause":true}{"pause":false}`:           "something after",
		`{"pause":true} x`:                        "something after",
		`{"pause":true` + strings.Repeat(" ", 300) + `}`: "too long",
	} {
		o, err := ReadOrder([]byte(text))
		got := ""
		switch {
		case err != nil:
			got = err.Error()
			if fault := (*OrderError)(nil); !errors.As(err, &fault) {
				t.Errorf("%s: %T", text, err)
			}
		case !o.Seek.IsZero():
			got = "seek " + o.Seek.Format(time.RFC3339Nano)
		case o.Pause != nil && *o.Pause:
			got = "pause true"
		case o.Pause != nil:
			got = "pause false"
		default:
			got = "speed " + strings.TrimSuffix(time.Duration(o.Speed*float64(time.Second)).String(), "s")
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}

// TestWishes: of each kind of order the last one counts, and a seek ends a pause.
func TestWishes(t *testing.T) {
	var w wishes
	for _, text := range []string{`{"seek":"2026-01-01T00:00:00Z"}`, `{"speed":2}`, `{"pause":true}`, `{"seek":"2026-01-02T00:00:00Z"}`, `{"speed":4}`} {
		o, err := ReadOrder([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		w.add(o)
	}
	if w.text != "2026-01-02T00:00:00Z" || w.seek.Day() != 2 || w.pause != nil || w.speed != 4 || w.empty() {
		t.Errorf("%+v", w)
	}
	pause := true
	if w.add(Order{Pause: &pause}); w.pause == nil || !*w.pause || w.seek.IsZero() {
		t.Errorf("paused after a seek: %+v", w)
	}
	if !(&wishes{}).empty() {
		t.Error("no wish is one")
	}
}

// FuzzReadOrder: whatever a browser sends is an order of one part, within its bounds, or
// refused with a reason that fits into the end of a connection.
func FuzzReadOrder(f *testing.F) {
	for _, text := range []string{`{"seek":"2026-01-31T10:00:00Z"}`, `{"pause":true}`, `{"speed":2}`, `{"speed":1e400}`, `{"seek":"2026-02-30T10:00:00Z"}`, "{\"\x00\":1}", `{"seek":"2026-01-31T10:00:00Z","seek":null}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ReadOrder(data)
		if err != nil {
			if fault := (*OrderError)(nil); !errors.As(err, &fault) || fault.Reason == "" || len(fault.Reason) > 123 { // RFC 6455, 5.5
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		parts := 0
		for _, has := range []bool{!o.Seek.IsZero(), o.Pause != nil, o.Speed != 0} {
			if has {
				parts++
			}
		}
		if parts != 1 || len(data) > MaxOrder || !o.Seek.IsZero() && (o.Seek.Year() < 1969 || o.Seek.Year() > 2200) || o.Speed < 0 || o.Speed > 8 {
			t.Fatalf("%q is %+v", data, o)
		}
	})
}
