package fanout

import (
	"io"
	"net"
	"net/http"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// plainPion is what a program gets that gives each packet to pion: one track that all viewers
// share, one port. It has no interceptors, so it does less than pion does if nothing is
// configured, and the same encryption as the others.
func plainPion(l net.Listener, camera string) error {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IP(loopback[:])})
	if err != nil {
		return err
	}
	_ = socket.SetWriteBuffer(sendBuffer)
	engine := webrtc.SettingEngine{LoggerFactory: silence{}}
	engine.SetLite(true)
	engine.SetICEUDPMux(ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: socket, Logger: silence{}}))
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM)
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return err
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(engine), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90_000,
		SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"}, "video", "camera")
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() {
		failed <- http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // on loopback
			answer, err := answerPlainly(api, track, r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, answer)
		}))
	}()
	go func() {
		failed <- pictures(camera, func(packets [][]byte) {
			for _, p := range packets {
				var packet rtp.Packet
				if packet.Unmarshal(p) == nil {
					_ = track.WriteRTP(&packet)
				}
			}
		})
	}()
	return <-failed
}

func answerPlainly(api *webrtc.API, track webrtc.TrackLocal, offer io.Reader) (string, error) {
	text, err := io.ReadAll(offer)
	if err != nil {
		return "", err
	}
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	peer.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateClosed || s == webrtc.PeerConnectionStateFailed {
			_ = peer.Close()
		}
	})
	if _, err := peer.AddTrack(track); err != nil {
		return "", err
	}
	if err := peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(text)}); err != nil {
		return "", err
	}
	answer, err := peer.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(peer)
	if err := peer.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return peer.LocalDescription().SDP, nil
}
