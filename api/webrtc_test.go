package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"latchkey/domain/ids"
	"latchkey/projections/access"
)

// memoryWebRTC answers what it is told.
type memoryWebRTC struct {
	last    WebRTCUse
	offer   string
	during  func() // called by Start
	err     error
	viewers map[string]ids.Account
	talked  int
}

func (m *memoryWebRTC) Start(_ context.Context, u WebRTCUse, offer []byte) (WebRTCAnswer, error) {
	m.last, m.offer = u, string(offer)
	if m.during != nil {
		m.during()
	}
	if m.err != nil {
		return WebRTCAnswer{}, m.err
	}
	id := fmt.Sprint("viewer-", len(m.viewers))
	m.viewers[id] = u.Account
	return WebRTCAnswer{Viewer: id, SDP: []byte("v=0 answer")}, nil
}

func (m *memoryWebRTC) End(_ context.Context, account ids.Account, viewer string) error {
	if m.viewers[viewer] != account {
		return fmt.Errorf("%w: no", ErrNoViewer)
	}
	delete(m.viewers, viewer)
	return nil
}

func webRTCVillage(t *testing.T) (*village, *memoryWebRTC, func(p person, query, body string) answer) {
	t.Helper()
	m := &memoryWebRTC{viewers: map[string]ids.Account{}}
	v := newVillage(t, func(c *Config) { c.WebRTC = m })
	return v, m, func(p person, query, body string) answer {
		return v.do("POST", "/api/v1/devices/"+v.device+"/channels/1/whep"+query, p.token, body, "Content-Type", "application/sdp")
	}
}

// TestWHEP: an offer gets its answer and the place where the viewer ends.
func TestWHEP(t *testing.T) {
	v, m, offer := webRTCVillage(t)
	a := v.wantStatus(offer(v.owner, "", "v=0 offer"), 201)
	if string(a.body) != "v=0 answer" || a.Header.Get("Content-Type") != "application/sdp" || a.Header.Get("Location") != "/api/v1/webrtc/viewer-0" {
		t.Errorf("%v %s", a.Header, a.body)
	}
	u := m.last
	if m.offer != "v=0 offer" || string(u.Account) != v.owner.id || string(u.Device) != v.device || u.Channel != 1 || u.Session != v.owner.token || !u.Address.IsValid() || u.Sub {
		t.Errorf("%+v %s", u, m.offer)
	}
	v.wantStatus(offer(v.owner, "?stream=sub", "v=0 offer"), 201)
	if !m.last.Sub {
		t.Error("the sub stream is not asked for")
	}
	v.wantProblem(v.do("DELETE", a.Header.Get("Location"), v.recipient.token, nil), 404, "viewer_not_found")
	for _, method := range []string{"PATCH", "POST", "GET"} {
		refused := v.do(method, a.Header.Get("Location"), v.owner.token, nil)
		if v.wantProblem(refused, 405, "method_not_allowed"); !strings.Contains(refused.Header.Get("Allow"), "DELETE") {
			t.Errorf("%s: Allow is %q", method, refused.Header.Get("Allow"))
		}
	}
	v.wantStatus(v.do("DELETE", a.Header.Get("Location"), v.owner.token, nil), 204)
	v.wantProblem(v.do("DELETE", a.Header.Get("Location"), v.owner.token, nil), 404, "viewer_not_found")
}

// TestWHEPRefusals: each has its code and words that help, and none has anything of the
// camera.
func TestWHEPRefusals(t *testing.T) {
	v, m, offer := webRTCVillage(t)
	secret := errors.New("rtsp://192.0.2.10 admin hunter2")
	for _, c := range []struct {
		err          error
		status       int
		code, detail string
	}{
		{&Denied{access.NotFound}, 404, "device_not_found", ""}, {&Denied{access.Forbidden}, 403, "privilege_missing", ""}, {&Denied{access.Unavailable}, 503, "unavailable", ""},
		{&OfferFault{"it is not SDP"}, 422, "invalid_offer", "it is not SDP"},
		{&Unplayable{Codec: "H265"}, 409, "stream_not_playable", "H.265"}, {&Unplayable{Codec: "JPEG"}, 409, "stream_not_playable", "sub stream"},
		{&Unplayable{Codec: "H264"}, 409, "stream_not_playable", "packetization-mode=1"}, {&Unplayable{}, 409, "stream_not_playable", "no video"},
		{&Unplayable{Codec: "H264", BFrames: true}, 409, "stream_has_b_frames", "turn B-frames off"},
		{ErrTooManyViewers, 429, "too_many_viewers", "Close some"}, {ErrWebRTCNotNow, 503, "unavailable", ""},
		{&DeviceFault{Reason: "not_reachable"}, 502, "stream_not_available", "cannot be reached"},
	} {
		m.err = fmt.Errorf("%w: %w", c.err, secret)
		a := offer(v.owner, "", "v=0")
		v.wantProblem(a, c.status, c.code)
		if body := string(a.body); strings.Contains(body, "192.0.2.10") || strings.Contains(body, "hunter2") || !strings.Contains(a.problem(t).Detail, c.detail) {
			t.Errorf("%v: %s", c.err, body)
		}
	}
	m.err, m.offer = nil, ""
	v.wantStatus(offer(person{}, "", "v=0"), 401)
	v.wantProblem(offer(v.stranger, "", "v=0"), 404, "device_not_found")
	v.wantProblem(offer(v.owner, "?stream=third", "v=0"), 400, "invalid_parameter")
	v.wantProblem(offer(v.owner, "", strings.Repeat("v", MaxOffer+1)), 413, "body_too_large")
	v.wantProblem(v.do("POST", "/api/v1/devices/"+v.device+"/channels/1/whep", v.owner.token, "{}"), 415, "unsupported_media_type")
	if m.offer != "" {
		t.Errorf("the offer %q was passed on", m.offer)
	}
	w := newVillage(t)
	w.wantProblem(w.do("POST", "/api/v1/devices/"+w.device+"/channels/1/whep", w.owner.token, "v=0", "Content-Type", "application/sdp"), 409, "webrtc_not_available")
	w.wantProblem(w.do("DELETE", "/api/v1/webrtc/x", w.owner.token, nil), 404, "viewer_not_found")
}

// TestWHEPOfASessionThatEndsMeanwhile: the viewer that has just begun ends.
func TestWHEPOfASessionThatEndsMeanwhile(t *testing.T) {
	v, m, offer := webRTCVillage(t)
	m.during = func() { v.wantStatus(v.do("DELETE", "/api/v1/sessions/current", v.owner.token, nil), 204) }
	v.wantStatus(offer(v.owner, "", "v=0"), 401)
	if len(m.viewers) != 0 {
		t.Errorf("viewers are left: %v", m.viewers)
	}
}
