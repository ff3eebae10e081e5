package vod

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// MaxOrder is how long an order may be, in bytes.
const MaxOrder = 256

// Order is a message of a browser. It has one part.
type Order struct {
	Seek  time.Time // where to play from; zero: it is none
	text  string    // of Seek, as it was said
	Pause *bool     // whether to pause
	Speed float64   // 1, 2, 4 or 8; 0: it is none
}

// An OrderError says what is wrong with a message, to whoever sent it.
type OrderError struct{ Reason string }

// Error is the reason.
func (e *OrderError) Error() string { return e.Reason }

// ReadOrder reads a message such as {"seek":"2026-01-31T10:00:00Z"}, {"pause":true} or
// {"speed":2}. Its error is an *OrderError.
func ReadOrder(data []byte) (Order, error) {
	var said struct {
		Seek  *string  `json:"seek"`
		Pause *bool    `json:"pause"`
		Speed *float64 `json:"speed"`
	}
	if len(data) > MaxOrder {
		return Order{}, &OrderError{"the message is too long"}
	}
	var parts map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&parts); err != nil {
		return Order{}, &OrderError{"the message is not an order in JSON"}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Order{}, &OrderError{"the message has something after the order"}
	}
	for name := range parts { // the decoder would take SEEK for seek
		if name != "seek" && name != "pause" && name != "speed" {
			return Order{}, &OrderError{"the message is not an order in JSON"}
		}
	}
	if err := json.Unmarshal(data, &said); err != nil {
		return Order{}, &OrderError{"the message is not an order in JSON"}
	}
	o, has := Order{Pause: said.Pause}, 0
	for _, is := range []bool{said.Seek != nil, said.Pause != nil, said.Speed != nil} {
		if is {
			has++
		}
	}
	if has != 1 {
		return Order{}, &OrderError{"an order is one of seek, pause and speed"}
	}
	if said.Seek != nil {
		at, err := time.Parse(time.RFC3339, *said.Seek)
		if err != nil || at.Year() < 1970 || at.Year() > 2199 {
			return Order{}, &OrderError{"seek is not a time such as 2026-01-31T10:00:00Z"}
		}
		o.Seek, o.text = at.UTC(), *said.Seek
	}
	if said.Speed != nil {
		switch o.Speed = *said.Speed; o.Speed {
		case 1, 2, 4, 8:
		default:
			return Order{}, &OrderError{"speed is not 1, 2, 4 or 8"}
		}
	}
	return o, nil
}

// wishes are the orders that have not been carried out: the last of each kind.
type wishes struct {
	seek  time.Time
	text  string
	pause *bool
	speed float64
}

// add puts an order in the place of an earlier one of its kind. Whoever seeks wants to see
// something: a pause before it is over.
func (w *wishes) add(o Order) {
	switch {
	case !o.Seek.IsZero():
		w.seek, w.text, w.pause = o.Seek, o.text, nil
	case o.Pause != nil:
		w.pause = o.Pause
	default:
		w.speed = o.Speed
	}
}

func (w *wishes) empty() bool { return w.seek.IsZero() && w.pause == nil && w.speed == 0 }
