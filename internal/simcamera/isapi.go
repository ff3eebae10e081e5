package simcamera

import (
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/simcamera/picture"
)

const isapiNamespace = "http://www.hikvision.com/ver20/XMLSchema"

// isapiStatus is an outcome as ISAPI words it.
type isapiStatus struct {
	http    int
	code    int
	text    string
	subCode string
}

var (
	statusOK               = isapiStatus{http.StatusOK, 1, "OK", "ok"}
	statusBusy             = isapiStatus{http.StatusServiceUnavailable, 2, "Device Busy", "deviceBusy"}
	statusInvalidOperation = isapiStatus{http.StatusNotFound, 4, "Invalid Operation", "notSupport"}
	statusInvalidXML       = isapiStatus{http.StatusBadRequest, 6, "Invalid XML Content", "badXmlContent"}
)

func respond(w http.ResponseWriter, r *http.Request, s isapiStatus) {
	writeXML(w, s.http, struct {
		XMLName       xml.Name `xml:"ResponseStatus"`
		Version       string   `xml:"version,attr"`
		Namespace     string   `xml:"xmlns,attr"`
		RequestURL    string   `xml:"requestURL"`
		StatusCode    int      `xml:"statusCode"`
		StatusString  string   `xml:"statusString"`
		SubStatusCode string   `xml:"subStatusCode"`
	}{Version: "2.0", Namespace: isapiNamespace, RequestURL: r.URL.Path,
		StatusCode: s.code, StatusString: s.text, SubStatusCode: s.subCode})
}

func writeXML(w http.ResponseWriter, status int, v any) {
	out, err := xml.Marshal(v)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", `application/xml; charset="UTF-8"`)
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(xml.Header), out...)) // the client may have gone
}

func (s *httpServer) deviceInfo(w http.ResponseWriter, _ *http.Request) {
	cfg := s.camera.cfg
	version, released, _ := strings.Cut(cfg.Firmware, " ")
	kind := "IPCamera"
	if cfg.Recorder {
		kind = "NVR"
	}
	writeXML(w, http.StatusOK, struct {
		XMLName    xml.Name `xml:"DeviceInfo"`
		Version    string   `xml:"version,attr"`
		Namespace  string   `xml:"xmlns,attr"`
		DeviceName string   `xml:"deviceName"`
		DeviceID   string   `xml:"deviceID"`
		Model      string   `xml:"model"`
		Serial     string   `xml:"serialNumber"`
		MAC        string   `xml:"macAddress"`
		Firmware   string   `xml:"firmwareVersion"`
		Released   string   `xml:"firmwareReleasedDate"`
		DeviceType string   `xml:"deviceType"`
	}{Version: "2.0", Namespace: isapiNamespace, DeviceName: "Simulated recorder", DeviceID: cfg.Serial,
		Model: cfg.Model, Serial: cfg.Serial, MAC: simulatedMAC, Firmware: version, Released: released,
		DeviceType: kind})
}

// simulatedMAC is locally administered: no device has it.
const simulatedMAC = "02:00:00:00:00:01"

type videoInput struct {
	ID         int    `xml:"id"`
	InputPort  int    `xml:"inputPort"`
	Enabled    bool   `xml:"videoInputEnabled"`
	Name       string `xml:"name"`
	Format     string `xml:"videoFormat"`
	Resolution string `xml:"resDesc"`
}

func (s *httpServer) videoInputs(w http.ResponseWriter, _ *http.Request) {
	var list struct {
		XMLName   xml.Name     `xml:"VideoInputChannelList"`
		Version   string       `xml:"version,attr"`
		Namespace string       `xml:"xmlns,attr"`
		Channels  []videoInput `xml:"VideoInputChannel"`
	}
	list.Version, list.Namespace = "2.0", isapiNamespace
	for _, ch := range s.camera.channels {
		if s.camera.cfg.Recorder { // its cameras are linked
			break
		}
		list.Channels = append(list.Channels, videoInput{ID: ch.number, InputPort: ch.number, Enabled: true,
			Name: cameraName(ch.number), Format: "PAL", Resolution: "640*360"})
	}
	writeXML(w, http.StatusOK, list)
}

// withHead finds the channel that a PTZ request names.
func (s *httpServer) withHead(next func(http.ResponseWriter, *http.Request, *head)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("channel"))
		ch := s.camera.channel(n)
		if err != nil || ch == nil || s.camera.cfg.Fixed {
			respond(w, r, statusInvalidOperation)
			return
		}
		next(w, r, ch.head)
	}
}

// ptzData is the body of PTZ orders. Namespaces vary between clients, so only local
// names count.
type ptzData struct {
	XMLName   xml.Name `xml:"PTZData"`
	Pan       float64  `xml:"pan"`
	Tilt      float64  `xml:"tilt"`
	Zoom      float64  `xml:"zoom"`
	Momentary *struct {
		Duration int `xml:"duration"` // milliseconds
	} `xml:"Momentary"`
	Relative *struct {
		X    float64 `xml:"positionX"` // -100 to 100, of a whole picture
		Y    float64 `xml:"positionY"`
		Zoom float64 `xml:"relativeZoom"`
	} `xml:"Relative"`
	Absolute *struct {
		Elevation float64 `xml:"elevation"`    // tenths of a degree
		Azimuth   float64 `xml:"azimuth"`      // tenths of a degree
		Zoom      float64 `xml:"absoluteZoom"` // tenths
	} `xml:"AbsoluteHigh"`
}

var errBadPTZ = errors.New("an invalid PTZ order")

// parsePTZ reads a PTZ order. Speeds beyond 100 are refused, as devices do.
func parsePTZ(text []byte) (ptzData, error) {
	var d ptzData
	if err := xml.Unmarshal(text, &d); err != nil {
		return ptzData{}, fmt.Errorf("reading a PTZ order: %w", err)
	}
	inside := func(v, limit float64) bool { return math.Abs(v) <= limit } // false for NaN
	ok := inside(d.Pan, 100) && inside(d.Tilt, 100) && inside(d.Zoom, 100)
	if m := d.Momentary; m != nil {
		ok = ok && m.Duration > 0 && m.Duration <= 60_000
	}
	if p := d.Relative; p != nil {
		ok = ok && inside(p.X, 100) && inside(p.Y, 100) && inside(p.Zoom, 100)
	}
	if p := d.Absolute; p != nil {
		ok = ok && p.Azimuth >= 0 && p.Azimuth <= 3600 && inside(p.Elevation, 900) && p.Zoom >= 0 && p.Zoom <= 1000
	}
	if !ok {
		return ptzData{}, errBadPTZ
	}
	return d, nil
}

// order reads the request's PTZ order, or responds with the error.
func order(w http.ResponseWriter, r *http.Request) (ptzData, bool) {
	text, err := body(w, r)
	if err == nil {
		var d ptzData
		if d, err = parsePTZ(text); err == nil {
			return d, true
		}
	}
	respond(w, r, statusInvalidXML)
	return ptzData{}, false
}

func (s *httpServer) moveHead(w http.ResponseWriter, r *http.Request, h *head) {
	d, ok := order(w, r)
	if !ok {
		return
	}
	var lasting time.Duration
	if strings.HasSuffix(r.URL.Path, "/momentary") {
		if d.Momentary == nil {
			respond(w, r, statusInvalidXML)
			return
		}
		lasting = time.Duration(d.Momentary.Duration) * time.Millisecond
	}
	h.move(velocity{pan: d.Pan, tilt: d.Tilt, zoom: d.Zoom}, lasting)
	respond(w, r, statusOK)
}

func (s *httpServer) turnHead(w http.ResponseWriter, r *http.Request, h *head) {
	d, ok := order(w, r)
	switch {
	case !ok:
		return
	case strings.HasSuffix(r.URL.Path, "/absolute") && d.Absolute != nil:
		p := d.Absolute
		h.turn("turn", func(picture.View) picture.View {
			return picture.View{Pan: p.Azimuth / 10, Tilt: p.Elevation / 10, Zoom: p.Zoom / 10}
		})
	case strings.HasSuffix(r.URL.Path, "/relative") && d.Relative != nil:
		p := d.Relative
		h.turn("turn", func(v picture.View) picture.View {
			v.Pan += p.X
			v.Tilt += p.Y / 10
			v.Zoom += p.Zoom / 100
			return v
		})
	default:
		respond(w, r, statusInvalidXML)
		return
	}
	respond(w, r, statusOK)
}

func (s *httpServer) ptzStatus(w http.ResponseWriter, _ *http.Request, h *head) {
	v := h.now()
	var out struct {
		XMLName   xml.Name `xml:"PTZStatus"`
		Version   string   `xml:"version,attr"`
		Namespace string   `xml:"xmlns,attr"`
		Elevation int      `xml:"AbsoluteHigh>elevation"`
		Azimuth   int      `xml:"AbsoluteHigh>azimuth"`
		Zoom      int      `xml:"AbsoluteHigh>absoluteZoom"`
	}
	out.Version, out.Namespace = "2.0", isapiNamespace
	out.Elevation, out.Azimuth, out.Zoom = tenths(v.Tilt), tenths(v.Pan), tenths(v.Zoom)
	writeXML(w, http.StatusOK, out)
}

func tenths(v float64) int { return int(math.Round(v * 10)) }

func (s *httpServer) ptzCapabilities(w http.ResponseWriter, _ *http.Request, _ *head) {
	type bounds struct {
		Min int `xml:"Min"`
		Max int `xml:"Max"`
	}
	var out struct {
		XMLName   xml.Name `xml:"PTZChanelCap"` // sic
		Version   string   `xml:"version,attr"`
		Namespace string   `xml:"xmlns,attr"`
		Azimuth   bounds   `xml:"AbsolutePanTiltPositionSpace>XRange"`
		Elevation bounds   `xml:"AbsolutePanTiltPositionSpace>YRange"`
		Zoom      bounds   `xml:"AbsoluteZoomPositionSpace>ZRange"`
		Pan       bounds   `xml:"ContinuousPanTiltSpace>XRange"`
		Tilt      bounds   `xml:"ContinuousPanTiltSpace>YRange"`
		Speed     bounds   `xml:"ContinuousZoomSpace>ZRange"`
		Presets   int      `xml:"maxPresetNum"`
	}
	out.Version, out.Namespace = "2.0", isapiNamespace
	out.Azimuth, out.Elevation = bounds{0, 3600}, bounds{-10 * picture.MaxTilt, 10 * picture.MaxTilt}
	out.Zoom = bounds{10, 10 * picture.MaxZoom}
	out.Pan, out.Tilt, out.Speed = bounds{-100, 100}, bounds{-100, 100}, bounds{-100, 100}
	out.Presets = maxPresets
	writeXML(w, http.StatusOK, out)
}

type preset struct {
	ID      int    `xml:"id"`
	Name    string `xml:"presetName"`
	Enabled bool   `xml:"enabled"`
}

func (s *httpServer) presets(w http.ResponseWriter, _ *http.Request, h *head) {
	var out struct {
		XMLName   xml.Name `xml:"PTZPresetList"`
		Version   string   `xml:"version,attr"`
		Namespace string   `xml:"xmlns,attr"`
		Presets   []preset `xml:"PTZPreset"`
	}
	out.Version, out.Namespace = "2.0", isapiNamespace
	for _, id := range h.stored() {
		out.Presets = append(out.Presets, preset{ID: id, Name: fmt.Sprintf("Preset %d", id), Enabled: true})
	}
	writeXML(w, http.StatusOK, out)
}

func (s *httpServer) storePreset(w http.ResponseWriter, r *http.Request, h *head) {
	id, err := strconv.Atoi(r.PathValue("preset"))
	if err != nil || !h.store(id) {
		respond(w, r, statusInvalidOperation)
		return
	}
	respond(w, r, statusOK)
}

func (s *httpServer) recallPreset(w http.ResponseWriter, r *http.Request, h *head) {
	id, err := strconv.Atoi(r.PathValue("preset"))
	if err != nil || !h.recall(id) {
		respond(w, r, statusInvalidOperation)
		return
	}
	respond(w, r, statusOK)
}
