package simcamera

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/simcamera/picture"
)

// ptzOperations are those of ONVIF's PTZ service.
var ptzOperations = map[string]bool{
	"ContinuousMove": true, "Stop": true, "RelativeMove": true, "AbsoluteMove": true, "GetPresets": true, "GotoPreset": true, "GetStatus": true,
}

// ptzVector is a place or a speed in ONVIF's generic spaces: -1 to 1, and 0 to 1 for the
// place of the zoom.
type ptzVector struct {
	PanTilt *struct {
		X float64 `xml:"x,attr"`
		Y float64 `xml:"y,attr"`
	} `xml:"PanTilt"`
	Zoom *struct {
		X float64 `xml:"x,attr"`
	} `xml:"Zoom"`
}

// ptzOrder is what PTZ operations have as arguments.
type ptzOrder struct {
	Profile     string     `xml:"ProfileToken"`
	Velocity    *ptzVector `xml:"Velocity"`
	Timeout     string     `xml:"Timeout"`
	Translation *ptzVector `xml:"Translation"`
	Position    *ptzVector `xml:"Position"`
	Preset      string     `xml:"PresetToken"`
}

// parts returns pan, tilt and zoom, those that are missing as 0; false if one is out of
// range or NaN.
func (v *ptzVector) parts() (pan, tilt, zoom float64, ok bool) {
	if v == nil {
		return 0, 0, 0, false
	}
	if v.PanTilt != nil {
		pan, tilt = v.PanTilt.X, v.PanTilt.Y
	}
	if v.Zoom != nil {
		zoom = v.Zoom.X
	}
	ok = math.Abs(pan) <= 1 && math.Abs(tilt) <= 1 && math.Abs(zoom) <= 1
	return pan, tilt, zoom, ok
}

// onvifPTZ answers the operations of ONVIF's PTZ service.
func (s *httpServer) onvifPTZ(w http.ResponseWriter, operation string, o ptzOrder) {
	if !ptzOperations[operation] || s.camera.cfg.Fixed {
		soapFault(w, http.StatusBadRequest, "s:Sender", "ter:ActionNotSupported")
		return
	}
	n, err := strconv.Atoi(strings.TrimPrefix(o.Profile, "profile_"))
	ch := s.camera.channel(n)
	if err != nil || ch == nil {
		soapFault(w, http.StatusBadRequest, "s:Sender", "ter:NoProfile")
		return
	}
	switch operation {
	case "GetPresets":
		soapAnswer(w, operation, onvifPresets(ch.head))
		return
	case "GetStatus":
		soapAnswer(w, operation, onvifStatus(ch.head))
		return
	}
	if !ch.head.obey(operation, o) {
		soapFault(w, http.StatusBadRequest, "s:Sender", "ter:InvalidArgVal")
		return
	}
	soapAnswer(w, operation, "")
}

// obey carries out an order; false if it is not valid.
func (h *head) obey(operation string, o ptzOrder) bool {
	switch operation {
	case "Stop":
		h.move(velocity{}, 0)
		return true
	case "GotoPreset":
		id, err := strconv.Atoi(o.Preset)
		return err == nil && h.recall(id)
	case "ContinuousMove":
		pan, tilt, zoom, ok := o.Velocity.parts()
		lasting, valid := isoSeconds(o.Timeout)
		if ok && valid {
			h.move(velocity{100 * pan, 100 * tilt, 100 * zoom}, lasting)
		}
		return ok && valid
	case "RelativeMove":
		pan, tilt, zoom, ok := o.Translation.parts()
		if ok {
			h.turn("turn", func(v picture.View) picture.View {
				return picture.View{Pan: v.Pan + 180*pan, Tilt: v.Tilt + picture.MaxTilt*tilt, Zoom: v.Zoom + (picture.MaxZoom-1)*zoom}
			})
		}
		return ok
	}
	pan, tilt, zoom, ok := o.Position.parts() // AbsoluteMove
	if ok {
		h.turn("turn", func(picture.View) picture.View {
			return picture.View{Pan: 180 * (pan + 1), Tilt: picture.MaxTilt * tilt, Zoom: 1 + (picture.MaxZoom-1)*zoom}
		})
	}
	return ok
}

// isoSeconds reads a duration like PT1.5S; "" is none.
func isoSeconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, true
	}
	inner, ok := strings.CutPrefix(s, "PT")
	seconds, is := strings.CutSuffix(inner, "S")
	n, err := strconv.ParseFloat(seconds, 64)
	ok = ok && is && err == nil && n > 0 && n <= 3600
	return time.Duration(n * float64(time.Second)), ok
}

func onvifPresets(h *head) string {
	var b strings.Builder
	for _, id := range h.stored() {
		fmt.Fprintf(&b, `<tptz:Preset token="%[1]d"><tt:Name>Preset %[1]d</tt:Name></tptz:Preset>`, id)
	}
	return b.String()
}

func onvifStatus(h *head) string {
	v := h.now()
	state := "IDLE"
	h.mu.Lock()
	if h.moving(time.Now()) {
		state = "MOVING"
	}
	h.mu.Unlock()
	return fmt.Sprintf(`<tptz:PTZStatus><tt:Position><tt:PanTilt x="%g" y="%g"/><tt:Zoom x="%g"/></tt:Position><tt:MoveStatus><tt:PanTilt>%[4]s</tt:PanTilt><tt:Zoom>%[4]s</tt:Zoom></tt:MoveStatus><tt:UtcTime>%[5]s</tt:UtcTime></tptz:PTZStatus>`,
		v.Pan/180-1, v.Tilt/picture.MaxTilt, (v.Zoom-1)/(picture.MaxZoom-1), state, time.Now().UTC().Format(time.RFC3339))
}
