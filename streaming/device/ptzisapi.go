package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// isapiHead moves a channel by ISAPI.
type isapiHead struct {
	isapi
	head *Head
}

// ranges are those of absolute places, as the device reports them.
type ranges struct{ pan, tilt, zoom span }

// span is what a part of a place goes from and to; both are the same if it cannot move.
type span struct{ from, to float64 }

// at returns the value at a share from 0 to 1 of the span.
func (s span) at(share float64) int { return int(math.Round(s.from + share*(s.to-s.from))) }

// share is the inverse of at.
func (s span) share(value float64) float64 {
	if s.to == s.from {
		return 0
	}
	return min(max((value-s.from)/(s.to-s.from), 0), 1)
}

// isapiPTZ are where ISAPI has PTZ: of a device's own channels, and of the cameras that are
// linked to a recorder.
var isapiPTZ = []string{"/PTZCtrl", "/ContentMgmt/PTZCtrlProxy"}

// anywhere does something at the place where the channel is moved, or at each until one
// does not refuse it.
func (i isapiHead) anywhere(do func(at string) error) error {
	i.head.mu.Lock()
	known := i.head.isapiAt
	i.head.mu.Unlock()
	if known != "" {
		return do(known)
	}
	for _, at := range isapiPTZ {
		err := do(at)
		var failure *Failure
		if errors.As(err, &failure) && failure.Kind == Refused {
			continue
		}
		if err == nil {
			i.head.mu.Lock()
			i.head.isapiAt = at
			i.head.mu.Unlock()
		}
		return err
	}
	return fail(Refused, ISAPI)
}

// order sends a PTZ order.
func (i isapiHead) order(ctx context.Context, what, body string) error {
	if body != "" {
		body = `<?xml version="1.0" encoding="UTF-8"?><PTZData>` + body + `</PTZData>`
	}
	return i.anywhere(func(at string) error {
		a, err := i.call(ctx, http.MethodPut, i.isapiPath(i.path(at, what)), []byte(body), http.Header{"Content-Type": {"application/xml"}})
		if err != nil {
			return err
		}
		return judgeOrder(a)
	})
}

// judgeOrder returns the failure that a response to an order means, nil for none.
func judgeOrder(a answer) error {
	switch {
	case a.status == http.StatusUnauthorized, a.status >= 300 && a.status < 400:
		return fail(Unsupported, ISAPI)
	case a.status != http.StatusOK:
		return fail(Refused, ISAPI)
	}
	if a.xml != nil && a.xml.name == "ResponseStatus" {
		if code := a.xml.words("statusCode"); code != "1" && code != "" { // 1 is OK
			return fail(Refused, ISAPI)
		}
	}
	return nil
}

func (i isapiHead) path(at, what string) string {
	return fmt.Sprintf("%s/channels/%d/%s", at, i.head.target.Channel, what)
}

// read reads a document of the channel.
func (i isapiHead) read(ctx context.Context, what string) (doc *element, err error) {
	err = i.anywhere(func(at string) (err error) {
		if doc, err = i.get(ctx, i.path(at, what)); err == nil && doc == nil {
			return fail(Refused, ISAPI)
		}
		return err
	})
	return doc, err
}

// hundredths returns a part of a vector as ISAPI counts it. One that is not zero stays so.
func hundredths(v float64) int {
	n := int(math.Round(100 * v))
	if n == 0 && v != 0 {
		n = int(math.Copysign(1, v))
	}
	return n
}

func (i isapiHead) move(ctx context.Context, v Vector, _ time.Duration) error {
	return i.order(ctx, "continuous", fmt.Sprintf("<pan>%d</pan><tilt>%d</tilt><zoom>%d</zoom>", hundredths(v.Pan), hundredths(v.Tilt), hundredths(v.Zoom)))
}

func (i isapiHead) stop(ctx context.Context) error { return i.move(ctx, Vector{}, 0) }

func (i isapiHead) relative(ctx context.Context, v Vector) error {
	return i.order(ctx, "relative", fmt.Sprintf("<Relative><positionX>%d</positionX><positionY>%d</positionY><relativeZoom>%d</relativeZoom></Relative>", hundredths(v.Pan), hundredths(v.Tilt), hundredths(v.Zoom)))
}

func (i isapiHead) absolute(ctx context.Context, p Place) error {
	r, err := i.ranges(ctx)
	if err != nil {
		return err
	}
	return i.order(ctx, "absolute", fmt.Sprintf("<AbsoluteHigh><elevation>%d</elevation><azimuth>%d</azimuth><absoluteZoom>%d</absoluteZoom></AbsoluteHigh>",
		r.tilt.at((p.Tilt+1)/2), r.pan.at((p.Pan+1)/2), r.zoom.at(p.Zoom)))
}

// ranges reads the ranges of places, once.
func (i isapiHead) ranges(ctx context.Context) (*ranges, error) {
	i.head.mu.Lock()
	known := i.head.ranges
	i.head.mu.Unlock()
	if known != nil {
		return known, nil
	}
	doc, err := i.read(ctx, "capabilities")
	if err != nil {
		return nil, err
	}
	r, ok := rangesOf(doc)
	if !ok {
		return nil, fail(Refused, ISAPI)
	}
	i.head.mu.Lock()
	i.head.ranges = &r
	i.head.mu.Unlock()
	return &r, nil
}

// rangesOf reads the ranges from the capabilities of a channel; false if it has none.
func rangesOf(doc *element) (r ranges, ok bool) {
	var okPan, okTilt bool
	r.pan, okPan = spanOf(doc.find("AbsolutePanTiltPositionSpace", "XRange"))
	r.tilt, okTilt = spanOf(doc.find("AbsolutePanTiltPositionSpace", "YRange"))
	r.zoom, _ = spanOf(doc.find("AbsoluteZoomPositionSpace", "ZRange")) // a camera may have none
	return r, okPan && okTilt
}

func spanOf(e *element) (span, bool) {
	from, err := strconv.Atoi(e.words("Min"))
	to, err2 := strconv.Atoi(e.words("Max"))
	const most = 1_000_000
	if err != nil || err2 != nil || from < -most || to > most || from >= to {
		return span{}, false
	}
	return span{float64(from), float64(to)}, true
}

func (i isapiHead) place(ctx context.Context) (*Place, error) {
	doc, err := i.read(ctx, "status")
	if err != nil {
		return nil, err
	}
	r, err := i.ranges(ctx)
	if err != nil {
		return nil, err
	}
	return placeOf(doc, *r), nil
}

// placeOf reads where a channel looks; nil if that is not there.
func placeOf(doc *element, r ranges) *Place {
	var values [3]float64
	for n, name := range []string{"azimuth", "elevation", "absoluteZoom"} {
		v, err := strconv.Atoi(doc.words("AbsoluteHigh", name))
		if err != nil {
			return nil
		}
		values[n] = float64(v)
	}
	return &Place{Pan: 2*r.pan.share(values[0]) - 1, Tilt: 2*r.tilt.share(values[1]) - 1, Zoom: r.zoom.share(values[2])}
}

func (i isapiHead) list(ctx context.Context) ([]Preset, error) {
	doc, err := i.read(ctx, "presets")
	if err != nil {
		return nil, err
	}
	return presetsOf(doc), nil
}

// presetsOf reads the list of presets. Those that were never set are missing, and so are
// those that give other orders.
func presetsOf(doc *element) []Preset {
	list := []Preset{}
	for _, e := range doc.all("PTZPreset") {
		number, err := strconv.Atoi(e.words("id"))
		if err != nil || number < 1 || number > 65535 || special(number) || strings.EqualFold(e.words("enabled"), "false") {
			continue
		}
		if list = append(list, Preset{ID: strconv.Itoa(number), Name: e.words("presetName")}); len(list) == maxPresets {
			break
		}
	}
	return list
}

// special reports whether a preset of a Hikvision device is not a place, but an order that
// the privilege does not cover: 33 to 45 flip, patrol and switch day and night; 90 to 105
// wipe, set limits, restart the device, open its menu and scan.
func special(number int) bool { return number >= 33 && number <= 45 || number >= 90 && number <= 105 }

func (i isapiHead) recall(ctx context.Context, id string) error {
	number, err := strconv.Atoi(id)
	if err != nil || special(number) {
		return fail(NoSuchPreset, ISAPI)
	}
	return i.order(ctx, fmt.Sprintf("presets/%d/goto", number), "")
}
