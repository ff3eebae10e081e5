package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"latchkey/domain/ids"
	"latchkey/projections/access"
)

// StartTalk answers what it is told, as Start does.
func (m *memoryWebRTC) StartTalk(ctx context.Context, u WebRTCUse, offer []byte) (WebRTCAnswer, error) {
	m.talked++
	return m.Start(ctx, u, offer)
}

// memoryTalk is a camera that takes what it is told.
type memoryTalk struct {
	codec  string
	err    error
	talker ids.Account
}

func (m *memoryTalk) Codec(context.Context, ids.Device, int) (string, error) { return m.codec, m.err }
func (m *memoryTalk) Talker(ids.Device, int) (ids.Account, bool)             { return m.talker, m.talker != "" }

// TestWHIP: an offer gets its answer and the place where the talker ends; each refusal has its
// code and words that help, and none has anything of the camera.
func TestWHIP(t *testing.T) {
	v, m, _ := webRTCVillage(t)
	offer := func(p person, body string) answer {
		return v.do("POST", "/api/v1/devices/"+v.device+"/channels/1/whip", p.token, body, "Content-Type", "application/sdp")
	}
	a := v.wantStatus(offer(v.owner, "v=0 offer"), 201)
	if string(a.body) != "v=0 answer" || a.Header.Get("Content-Type") != "application/sdp" || a.Header.Get("Location") != "/api/v1/webrtc/viewer-0" || m.talked != 1 {
		t.Errorf("%v %s", a.Header, a.body)
	}
	if u := m.last; m.offer != "v=0 offer" || string(u.Account) != v.owner.id || string(u.Device) != v.device || u.Channel != 1 || u.Session != v.owner.token || !u.Address.IsValid() {
		t.Errorf("%+v %s", u, m.offer)
	}
	v.wantStatus(v.do("DELETE", a.Header.Get("Location"), v.owner.token, nil), 204)

	secret := errors.New("rtsp://192.0.2.10 admin hunter2")
	for _, c := range []struct {
		err          error
		status       int
		code, detail string
	}{
		{&Denied{access.Forbidden}, 403, "privilege_missing", ""}, {&OfferFault{"it is not SDP"}, 422, "invalid_offer", "it is not SDP"},
		{ErrTalkBusy, 409, "talk_busy", "Somebody else"}, {ErrNoBackChannel, 409, "talk_not_available", ""},
		{&TalkCodec{"AAC"}, 409, "talk_codec_not_supported", "only AAC"}, {&TalkCodec{}, 409, "talk_codec_not_supported", "G.711"},
		{ErrTooManyViewers, 429, "too_many_viewers", ""}, {&DeviceFault{Reason: "not_reachable"}, 502, "camera_unavailable", "cannot be reached"},
	} {
		m.err = fmt.Errorf("%w: %w", c.err, secret)
		a := offer(v.owner, "v=0")
		v.wantProblem(a, c.status, c.code)
		if body := string(a.body); strings.Contains(body, "192.0.2.10") || strings.Contains(body, "hunter2") || !strings.Contains(a.problem(t).Detail, c.detail) {
			t.Errorf("%v: %s", c.err, body)
		}
	}
	m.err, m.offer = nil, ""
	v.wantStatus(offer(person{}, "v=0"), 401)
	v.wantProblem(offer(v.stranger, "v=0"), 404, "device_not_found")
	v.wantProblem(offer(v.owner, strings.Repeat("v", MaxOffer+1)), 413, "body_too_large")
	m.during = func() { v.wantStatus(v.do("DELETE", "/api/v1/sessions/current", v.owner.token, nil), 204) }
	v.wantStatus(offer(v.owner, "v=0"), 401)
	if len(m.viewers) != 0 {
		t.Errorf("talkers of a session that ended are left: %v", m.viewers)
	}
}

// TestTalkIsKnownBefore: what a page must know before it shows the button.
func TestTalkIsKnownBefore(t *testing.T) {
	m := &memoryTalk{}
	v := newVillage(t, func(c *Config) { c.Talk, c.WebRTC = m, &memoryWebRTC{} })
	ask := func(p person) answer {
		return v.do("GET", "/api/v1/devices/"+v.device+"/channels/1/talk", p.token, nil)
	}
	for _, c := range []struct {
		is   memoryTalk
		want string
	}{
		{memoryTalk{codec: "PCMA"}, `{"available":true,"codec":"PCMA","talker":"nobody","webrtc":true}`},
		{memoryTalk{codec: "PCMU", talker: ids.Account(v.owner.id)}, `{"available":true,"codec":"PCMU","talker":"you","webrtc":true}`},
		{memoryTalk{codec: "PCMU", talker: "rita"}, `{"available":true,"codec":"PCMU","talker":"other","webrtc":true}`},
		{memoryTalk{err: ErrNoBackChannel}, `{"available":false,"reason":"no_back_channel","talker":"nobody","webrtc":true}`},
		{memoryTalk{err: &TalkCodec{"AAC"}}, `{"available":false,"codec":"AAC","reason":"codec_not_supported","talker":"nobody","webrtc":true}`},
		{memoryTalk{err: &TalkCodec{}}, `{"available":false,"reason":"codec_not_supported","talker":"nobody","webrtc":true}`},
	} {
		*m = c.is
		var got map[string]any
		if err := json.Unmarshal(v.wantStatus(ask(v.owner), 200).body, &got); err != nil {
			t.Fatal(err)
		}
		if raw, _ := json.Marshal(got); string(raw) != c.want {
			t.Errorf("%s, want %s", raw, c.want)
		}
	}
	m.err = &DeviceFault{Reason: "timeout"}
	v.wantProblem(ask(v.owner), 502, "camera_unavailable")
	v.wantProblem(ask(v.stranger), 404, "device_not_found")
	v.wantStatus(ask(person{}), 401)

	w := newVillage(t) // without talk and WebRTC
	a := w.wantStatus(w.do("GET", "/api/v1/devices/"+w.device+"/channels/1/talk", w.owner.token, nil), 200)
	if !strings.Contains(string(a.body), `"available":false`) || !strings.Contains(string(a.body), `"webrtc":false`) {
		t.Errorf("%s", a.body)
	}
}
