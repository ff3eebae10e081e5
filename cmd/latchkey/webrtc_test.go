package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// browser is a player by WebRTC that only receives.
type browser struct {
	*webrtc.PeerConnection
	t              testing.TB
	pictures, left atomic.Int64 // packets of video received; 1 when the connection has ended
	sounds         atomic.Int64
}

func newBrowser(t testing.TB) *browser {
	t.Helper()
	engine := webrtc.SettingEngine{}
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetReceiveMTU(2048)
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	peer, err := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{PeerConnection: peer, t: t}
	t.Cleanup(func() { _ = peer.GracefulClose() })
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		if _, err := peer.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	peer.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		count := &b.pictures
		if track.Kind() == webrtc.RTPCodecTypeAudio {
			count = &b.sounds
		}
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
			count.Add(1)
		}
	})
	peer.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateClosed || s == webrtc.PeerConnectionStateFailed {
			b.left.Store(1)
		}
	})
	return b
}

// watch offers to a channel, and returns the status, the code of a problem, and the path of
// the viewer.
func (b *browser) watch(u *user, device, query string) (status int, code, path string) {
	b.t.Helper()
	offer, err := b.CreateOffer(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.SetLocalDescription(offer); err != nil {
		b.t.Fatal(err)
	}
	r, err := http.NewRequest("POST", "http://"+u.api.host+"/api/v1/devices/"+device+"/channels/1/whep"+query, strings.NewReader(offer.SDP))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/sdp")
	r.Header.Set("Authorization", "Bearer "+u.token)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if a.StatusCode != http.StatusCreated {
		var problem struct{ Code string }
		_ = json.Unmarshal(body, &problem)
		return a.StatusCode, problem.Code, ""
	}
	if err := b.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)}); err != nil {
		b.t.Fatalf("taking the answer: %v\n%s", err, body)
	}
	return a.StatusCode, "", a.Header.Get("Location")
}

// TestWebRTC: a recipient watches and hears by WebRTC with the real binary, is listed, and
// gets nothing after the answer of the command that takes live view away; what its session
// began ends with it.
func TestWebRTC(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.3.9")
	port, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := port.LocalAddr().String()
	port.Close()
	s := serveIn(t, []string{"LATCHKEY_WEBRTC=" + addr}, binary, t.TempDir())
	owner, rita := s.register(t, "olga"), s.register(t, "rita")
	var added struct{ ID string }
	owner.must("POST", "/devices", simCamera(cam, "Door"), &added)
	device := added.ID
	share := owner.share(rita, device, "live_view")
	rita.accept(share, device)

	first, second := newBrowser(t), newBrowser(t)
	if status, code, path := first.watch(rita, device, ""); status != 201 || !strings.HasPrefix(path, "/api/v1/webrtc/") {
		t.Fatalf("watching: %d %s %s", status, code, path)
	}
	eventually(t, "picture and sound arrive", func() bool { return first.pictures.Load() > 50 && first.sounds.Load() > 10 })
	var viewers struct {
		Items []struct{ Transport, Share, Address string }
	}
	owner.must("GET", "/devices/"+device+"/viewers", nil, &viewers)
	if len(viewers.Items) != 1 || viewers.Items[0].Transport != "webrtc" || viewers.Items[0].Share != share || viewers.Items[0].Address != "127.0.0.1" {
		t.Errorf("the viewers: %+v", viewers)
	}
	owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"playback"}}}}, nil)
	eventually(t, "the player sees the end", func() bool { return first.left.Load() == 1 })
	after := first.pictures.Load()
	if status, code, _ := newBrowser(t).watch(rita, device, ""); status != 403 || code != "privilege_missing" {
		t.Errorf("watching without live view: %d %s", status, code)
	}

	if status, code, _ := second.watch(owner, device, "?stream=sub"); status != 201 {
		t.Fatalf("the owner watches: %d %s", status, code)
	}
	eventually(t, "the owner's picture arrives", func() bool { return second.pictures.Load() > 10 })
	owner.must("DELETE", "/sessions/current", nil, nil)
	eventually(t, "the owner's player sees the end", func() bool { return second.left.Load() == 1 })
	time.Sleep(100 * time.Millisecond) // some pictures
	if n := first.pictures.Load(); n != after {
		t.Errorf("%d packets came after the end", n-after)
	}
}
