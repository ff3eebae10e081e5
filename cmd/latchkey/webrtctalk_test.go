package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// microphone is a browser that only talks.
type microphone struct {
	*webrtc.PeerConnection
	t     testing.TB
	track *webrtc.TrackLocalStaticRTP
	next  uint16
}

func newMicrophone(t testing.TB) *microphone {
	t.Helper()
	engine := webrtc.SettingEngine{}
	engine.SetIncludeLoopbackCandidate(true)
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	peer, err := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.GracefulClose() })
	m := &microphone{PeerConnection: peer, t: t}
	if m.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000}, "microphone", "page"); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.AddTransceiverFromTrack(m.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	return m
}

// connect offers to talk to a channel, and returns the status and the code of a problem.
func (m *microphone) connect(u *user, device string) (status int, code string) {
	m.t.Helper()
	offer, err := m.CreateOffer(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.SetLocalDescription(offer); err != nil {
		m.t.Fatal(err)
	}
	r, err := http.NewRequest("POST", "http://"+u.api.host+"/api/v1/devices/"+device+"/channels/1/whip", strings.NewReader(offer.SDP))
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/sdp")
	r.Header.Set("Authorization", "Bearer "+u.token)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	if a.StatusCode != http.StatusCreated {
		var problem struct{ Code string }
		_ = json.Unmarshal(body, &problem)
		return a.StatusCode, problem.Code
	}
	if err := m.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)}); err != nil {
		m.t.Fatalf("taking the answer: %v\n%s", err, body)
	}
	return a.StatusCode, ""
}

// say sends 20 ms of sound.
func (m *microphone) say() {
	m.next++
	_ = m.track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: m.next, Timestamp: uint32(m.next) * 160}, Payload: make([]byte, 160)})
	time.Sleep(20 * time.Millisecond)
}

// TestTalkByWebRTC: what a recipient says by WebRTC reaches the camera with the real binary,
// is listed, and ends before the answer of the command that takes two-way audio away; a
// stranger learns nothing.
func TestTalkByWebRTC(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.3.55")
	port, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := port.LocalAddr().String()
	port.Close()
	s := serveIn(t, []string{"LATCHKEY_WEBRTC=" + addr}, binary, t.TempDir())
	owner, rita, mallory := s.register(t, "olga"), s.register(t, "rita"), s.register(t, "mallory")
	var added struct{ ID string }
	owner.must("POST", "/devices", simCamera(cam, "Door"), &added)
	device := added.ID
	share := owner.share(rita, device, "live_view", "two_way_audio")
	rita.accept(share, device)

	if status, code := newMicrophone(t).connect(mallory, device); status != 404 || code != "device_not_found" {
		t.Errorf("a stranger: %d %s", status, code)
	}
	var talk struct {
		Available, WebRTC bool
		Codec, Talker     string
	}
	rita.must("GET", "/devices/"+device+"/channels/1/talk", nil, &talk)
	if !talk.Available || !talk.WebRTC || talk.Codec != "PCMU" || talk.Talker != "nobody" {
		t.Errorf("before: %+v", talk)
	}
	m := newMicrophone(t)
	if status, code := m.connect(rita, device); status != 201 {
		t.Fatalf("talking: %d %s", status, code)
	}
	eventually(t, "the camera hears it", func() bool { m.say(); return cam.Talk().Bytes > 8000 })
	if rita.must("GET", "/devices/"+device+"/channels/1/talk", nil, &talk); talk.Talker != "you" {
		t.Errorf("%q talks, want you", talk.Talker)
	}
	if status, code := newMicrophone(t).connect(rita, device); status != 201 { // an account does not wait for itself
		t.Errorf("from elsewhere: %d %s", status, code)
	}
	var viewers struct {
		Items []struct{ Transport, Share string }
	}
	owner.must("GET", "/devices/"+device+"/viewers", nil, &viewers)
	if len(viewers.Items) == 0 || viewers.Items[0].Transport != "webrtc-talk" || viewers.Items[0].Share != share {
		t.Errorf("the viewers: %+v", viewers)
	}

	done := make(chan struct{})
	defer func() { <-done }()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				m.say()
			}
		}
	}()
	owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}, nil)
	time.Sleep(100 * time.Millisecond) // what was sent before is read there
	heard := cam.Talk().Bytes
	time.Sleep(300 * time.Millisecond)
	if more := cam.Talk().Bytes - heard; more != 0 {
		t.Errorf("%d bytes were heard after the answer", more)
	}
	if status, code := newMicrophone(t).connect(rita, device); status != 403 || code != "privilege_missing" {
		t.Errorf("without two-way audio: %d %s", status, code)
	}
}
