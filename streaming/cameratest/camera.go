package cameratest

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"
)

// Camera is an RTSP server that plays to any client. Set its fields before Start.
type Camera struct {
	Medias   []*description.Media // nil: one Video
	User     string               // "": no password
	Password string
	Methods  []auth.VerifyMethod
	NoTCP    bool
	Rate     int    // bytes a second; 0 is 2 Mbit/s
	Frame    int    // bytes at once; 0 is a 25th of Rate
	GOP      int    // pictures from one key frame to the next; 0: each is one
	BFrames  bool   // pictures are sent in another order than they are shown in
	Addr     string // "": a free port on loopback; set by Start
	Hold     func() // called at DESCRIBE

	Heard func(*rtp.Packet) // called with what comes through its back channels

	Dials      atomic.Int32 // connections accepted
	Open       atomic.Int32 // connections open now
	Authorised atomic.Int32 // requests with the right password

	server *gortsplib.Server
	stream *gortsplib.ServerStream
	stop   chan struct{}
	sent   sync.Map // frame -> time
	wg     sync.WaitGroup
}

// Guarded returns a camera with a password.
func Guarded() *Camera {
	return &Camera{User: "admin", Password: "hunter2", Methods: []auth.VerifyMethod{auth.VerifyMethodBasic}}
}

// H264 is the format of Video.
var H264 = &format.H264{
	PayloadTyp: 96, PacketizationMode: 1,
	SPS: []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8}, PPS: []byte{0x68, 0xce, 0x3c, 0x80},
}

// Video is a media of pictures.
func Video() *description.Media {
	return &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{H264}}
}

// Start makes the camera play until the test ends or Close.
func (c *Camera) Start(t testing.TB) *Camera {
	t.Helper()
	c.stop = make(chan struct{})
	if c.Medias == nil {
		c.Medias = []*description.Media{Video()}
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	udp, err := ListenUDP()
	if err != nil {
		t.Fatal(err)
	}
	c.server = &gortsplib.Server{
		RTSPAddress: c.Addr, Handler: &handler{c}, AuthMethods: c.Methods, WriteQueueSize: 1 << 15, // it loses nothing on a busy machine
		UDPRTPAddress: udp[0].LocalAddr().String(), UDPRTCPAddress: udp[1].LocalAddr().String(),
		ListenPacket: func(_, a string) (net.PacketConn, error) {
			if a == udp[0].LocalAddr().String() {
				return udp[0], nil
			}
			return udp[1], nil
		},
		Listen: func(network, address string) (net.Listener, error) {
			ln, err := net.Listen(network, address)
			if err == nil {
				c.Addr = ln.Addr().String()
			}
			return ln, err
		},
	}
	if err := c.server.Start(); err != nil {
		t.Fatal(err)
	}
	c.stream = &gortsplib.ServerStream{Server: c.server, Desc: &description.Session{Title: "secret title", Medias: c.Medias}}
	if err := c.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	c.wg.Go(c.play)
	t.Cleanup(c.Close)
	return c
}

// Close ends the camera and drops its clients.
func (c *Camera) Close() {
	select {
	case <-c.stop:
		return
	default:
	}
	close(c.stop)
	c.wg.Wait()
	c.stream.Close()
	c.server.Close()
}

// URL returns the camera's URL, without its credentials.
func (c *Camera) URL() string { return "rtsp://" + c.Addr + "/secret-path" }

// SentAt returns when a frame was sent, whose timestamp is 3600 times its number.
func (c *Camera) SentAt(frame uint32) time.Time {
	at, _ := c.sent.Load(frame)
	return at.(time.Time)
}

// play sends frames of packets of 1200 bytes, each with the number of its frame and how many
// packets that has.
func (c *Camera) play() {
	bytes, frame := c.Rate, c.Frame
	if bytes == 0 {
		bytes = 250_000
	}
	if frame == 0 {
		frame = bytes / 25
	}
	tick := time.NewTicker(time.Duration(float64(frame) / float64(bytes) * float64(time.Second)))
	defer tick.Stop()
	var seq uint16
	payload := make([]byte, 1200)
	for n := uint32(0); ; n++ {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		payload[0] = 0x65
		if c.GOP > 0 && n%uint32(c.GOP) != 0 {
			payload[0] = 0x41
		}
		c.sent.Store(n, time.Now())
		shown := n
		if c.BFrames {
			shown = n ^ 1
		}
		binary.BigEndian.PutUint32(payload[1:], n)
		binary.BigEndian.PutUint32(payload[5:], uint32((frame+len(payload)-1)/len(payload)))
		for _, m := range c.Medias {
			for sent := 0; sent < frame; sent += len(payload) {
				seq++
				_ = c.stream.WritePacketRTP(m, &rtp.Packet{
					Header: rtp.Header{
						Version: 2, PayloadType: m.Formats[0].PayloadType(), SequenceNumber: seq,
						Timestamp: shown * 3600, Marker: sent+len(payload) >= frame, SSRC: 7,
					},
					Payload: payload,
				})
				if m.Type != description.MediaTypeVideo {
					break
				}
			}
		}
	}
}

// handler is what the camera's server calls.
type handler struct{ *Camera }

func (c *handler) OnConnOpen(*gortsplib.ServerHandlerOnConnOpenCtx)   { c.Dials.Add(1); c.Open.Add(1) }
func (c *handler) OnConnClose(*gortsplib.ServerHandlerOnConnCloseCtx) { c.Open.Add(-1) }
func (c *handler) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {
}
func (c *handler) OnDecodeError(*gortsplib.ServerHandlerOnDecodeErrorCtx) {}

func (c *handler) allowed(conn *gortsplib.ServerConn, req *base.Request) bool {
	if c.User == "" {
		return true
	}
	allowed := conn.VerifyCredentials(req, c.User, c.Password)
	if allowed {
		c.Authorised.Add(1)
	}
	return allowed
}

func (c *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if !c.allowed(ctx.Conn, ctx.Request) {
		return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{}}, nil, liberrors.ErrServerAuth{}
	}
	if c.Hold != nil {
		c.Hold()
	}
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

func (c *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if !c.allowed(ctx.Conn, ctx.Request) {
		return &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{}}, nil, liberrors.ErrServerAuth{}
	}
	if c.NoTCP && ctx.Transport == gortsplib.TransportTCP {
		return &base.Response{StatusCode: base.StatusUnsupportedTransport}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

func (c *handler) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	if c.Heard != nil {
		ctx.Session.OnPacketRTPAny(func(_ *description.Media, _ format.Format, p *rtp.Packet) { c.Heard(p) })
	}
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// ListenUDP binds two free ports on loopback: an even one, for RTP, and the next, for
// RTCP.
func ListenUDP() (pair [2]*net.UDPConn, err error) {
	for range 64 {
		var probe *net.UDPConn
		if probe, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			return pair, err
		}
		addr := *probe.LocalAddr().(*net.UDPAddr)
		probe.Close()
		addr.Port &^= 1
		if pair[0], err = net.ListenUDP("udp", &addr); err != nil {
			continue
		}
		addr.Port++
		if pair[1], err = net.ListenUDP("udp", &addr); err == nil {
			return pair, nil
		}
		pair[0].Close()
	}
	return pair, fmt.Errorf("no two free ports: %w", err)
}
