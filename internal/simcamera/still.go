package simcamera

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/jpeg"
	"net/http"
	"strconv"
	"strings"

	"latchkey/internal/simcamera/picture"
)

// Stills counts the still pictures that were given.
func (c *Camera) Stills() int { return int(c.stills.Load()) }

// isapiPicture gives a still picture of a stream, by a number like 101.
func (s *httpServer) isapiPicture(w http.ResponseWriter, r *http.Request) {
	t, err := numbered(r.PathValue("stream"))
	if ch := s.camera.channel(t.channel); err == nil && ch != nil && t.quality == mainStream {
		s.still(w, ch)
		return
	}
	respond(w, r, statusInvalidOperation)
}

// onvifPicture gives the picture that GetSnapshotUri names.
func (s *httpServer) onvifPicture(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Query().Get("channel"))
	ch := s.camera.channel(n)
	if ch == nil {
		http.NotFound(w, r)
		return
	}
	s.still(w, ch)
}

// still draws what a channel sees. As devices do, it writes beside the picture what it is.
func (s *httpServer) still(w http.ResponseWriter, ch *channel) {
	s.camera.stills.Add(1)
	drawn := picture.NewScene(640, 360).Draw(s.camera.cfg.Now(), ch.head.now(), picture.Text{Name: cameraName(ch.number)})
	var b bytes.Buffer
	if err := jpeg.Encode(&b, drawn, nil); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	note := s.camera.cfg.Model + " " + s.camera.cfg.Serial
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("X-Serial", s.camera.cfg.Serial)
	_, _ = w.Write(append(append(b.Bytes()[:2:2], 0xff, 0xfe, byte((len(note)+2)>>8), byte(len(note)+2)), note...)) // the client may have gone
	_, _ = w.Write(b.Bytes()[2:])
}

// snapshotURI answers GetSnapshotUri; false: there is no such profile.
func (s *httpServer) snapshotURI(host string, request []byte) (string, bool) {
	var req struct {
		Profile string `xml:"Body>GetSnapshotUri>ProfileToken"`
	}
	n, err := 0, xml.Unmarshal(request, &req)
	if err == nil {
		n, err = strconv.Atoi(strings.TrimPrefix(req.Profile, "profile_"))
	}
	if err != nil || s.camera.channel(n) == nil {
		return "", false
	}
	return fmt.Sprintf(`<trt:MediaUri><tt:Uri>http://%s/onvif-http/snapshot?channel=%d&amp;size=1</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect></trt:MediaUri>`, host, n), true
}
