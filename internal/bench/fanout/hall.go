package fanout

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sys/unix"
)

// Hall are light browsers. Each connects as pion does, and from then on one thread reads the
// sockets of all of them and looks at nothing but the headers of RTP, which are not
// encrypted: so many viewers cost little beside what is measured.
type Hall struct {
	poll     int
	straight *session // of the camera itself, which says when its pictures were sent
	parts    sync.WaitGroup
	stop     chan struct{}

	mu       sync.Mutex
	by       map[int32]*Browser
	sent     map[uint32]int64 // Unix time in ns, by RTP timestamp
	late     []time.Duration  // of the pictures straight from the camera
	browsers []*Browser
	rounds   int // of reading all sockets
}

// Browser is a viewer by WebRTC, guarded by its hall.
type Browser struct {
	socket  *socketOf
	peer    *webrtc.PeerConnection // nil for a viewer without a handshake
	leave   func()                 // nil: pion says goodbye
	number  uint16
	counted bool
	bytes   int64 // of RTP as it was sent, encrypted
	packets int
	lost    int // packets
	last    time.Time
	whole   []picture
}

// picture is one whose last packet has come.
type picture struct {
	timestamp uint32
	at        int64 // Unix time in ns
}

// Received is what a browser has received so far.
type Received struct {
	Packets int
	Last    time.Time // of the last packet
}

// NewHall returns a hall without browsers, for a camera. Close it.
func NewHall(ctx context.Context, camera Target) (*Hall, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	h := &Hall{poll: poll, stop: make(chan struct{}), by: map[int32]*Browser{}, sent: map[uint32]int64{}}
	if h.straight, err = dial(ctx, camera, nil); err != nil {
		_ = unix.Close(poll)
		return nil, err
	}
	h.parts.Go(h.read)
	h.parts.Go(h.watch)
	h.parts.Go(h.report)
	return h, nil
}

// watch notes when the camera has sent its pictures.
func (h *Hall) watch() {
	for {
		packet, err := peekPacket(h.straight.in)
		if err != nil {
			return
		}
		if channel, p := packet[1], packet[4:]; channel == 0 && len(p) > 14 {
			h.note(p, time.Now().UnixNano())
		}
		if _, err := h.straight.in.Discard(len(packet)); err != nil {
			return
		}
	}
}

func (h *Hall) note(p []byte, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	timestamp, body := binary.BigEndian.Uint32(p[4:]), payload(p)
	if len(body) > 2 && body[0]&0x1f == 28 && body[1]&0x80 != 0 {
		if s, ok := parseStamp(body[2:]); ok {
			h.sent[timestamp] = s.sent
		}
	}
	if sent := h.sent[timestamp]; sent != 0 && p[1]&0x80 != 0 {
		h.late = append(h.late, time.Duration(now-sent))
	}
}

// Join adds a viewer. post sends its offer and returns the answer.
func (h *Hall) Join(ctx context.Context, post func(offer string) (string, error)) (*Browser, error) {
	socket, err := h.open()
	if err != nil {
		return nil, err
	}
	b := &Browser{socket: socket}
	if b.peer, err = newPeer(socket); err != nil {
		socket.Close()
		return nil, err
	}
	h.add(b)
	if err := b.connect(ctx, post); err != nil {
		h.Leave([]*Browser{b})
		return nil, err
	}
	return b, nil
}

// JoinPlainly adds a viewer without a handshake to a sealer.
func (h *Hall) JoinPlainly(ctx context.Context, sealer *Process) (*Browser, error) {
	socket, err := h.open()
	if err != nil {
		return nil, err
	}
	b := &Browser{socket: socket, leave: func() { _ = sealer.tell(context.Background(), http.MethodDelete, socket.port) }}
	h.add(b)
	return b, sealer.tell(ctx, http.MethodPost, socket.port)
}

// tell makes a sealer send to a port, or stop doing so.
func (p *Process) tell(ctx context.Context, method string, port int) error {
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://%s/%d", p.Address, port), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// newPeer is pion with a socket of ours.
func newPeer(socket net.PacketConn) (*webrtc.PeerConnection, error) {
	engine := webrtc.SettingEngine{LoggerFactory: silence{}}
	engine.SetICEUDPMux(ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: socket, Logger: silence{}}))
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
}

func (b *Browser) connect(ctx context.Context, post func(string) (string, error)) error {
	connected := make(chan struct{})
	var once sync.Once
	b.peer.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	if _, err := b.peer.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return err
	}
	offer, err := b.peer.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(b.peer)
	if err := b.peer.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	answer, err := post(b.peer.LocalDescription().SDP)
	if err != nil {
		return err
	}
	if err := b.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return err
	}
	select {
	case <-connected:
		return nil
	case <-time.After(handshakeTime):
		return errors.New("a viewer was not connected in time")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hall) add(b *Browser) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by[int32(b.socket.fd)] = b
	h.browsers = append(h.browsers, b)
	_ = unix.EpollCtl(h.poll, unix.EPOLL_CTL_ADD, b.socket.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(b.socket.fd)})
}

// Leave ends viewers.
func (h *Hall) Leave(list []*Browser) {
	for _, b := range list {
		if b.peer != nil {
			_ = b.peer.Close()
		}
		if b.leave != nil {
			b.leave()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range list {
		delete(h.by, int32(b.socket.fd))
		b.socket.shut()
	}
	h.browsers = slices.DeleteFunc(h.browsers, func(b *Browser) bool { return slices.Contains(list, b) })
}

// Close ends all viewers.
func (h *Hall) Close() {
	h.mu.Lock()
	list := slices.Clone(h.browsers)
	h.mu.Unlock()
	h.Leave(list)
	close(h.stop)
	h.straight.close()
	h.parts.Wait()
	_ = unix.Close(h.poll)
}

// read reads the sockets.
func (h *Hall) read() {
	runtime.LockOSThread() // for ever: the thread ends with the reader
	_ = yielding()         // otherwise the figures are somewhat higher
	events, buffer := make([]unix.EpollEvent, 512), make([]byte, maxMessages*maxPacket)
	batch := newBatch(buffer)
	for {
		select {
		case <-h.stop:
			return
		default:
		}
		n, err := unix.EpollWait(h.poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		h.mu.Lock()
		for _, e := range events[:max(n, 0)] {
			if b := h.by[e.Fd]; b != nil {
				batch.each(int(e.Fd), b.datagram)
			}
		}
		h.rounds++
		h.mu.Unlock()
	}
}

// CatchUp returns when the hall has read what was sent before the call.
func (h *Hall) CatchUp(ctx context.Context) error {
	read := func() int { h.mu.Lock(); defer h.mu.Unlock(); return h.rounds }
	for from := read(); read() < from+2; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// datagram takes one: media is counted, and pion gets everything else.
func (b *Browser) datagram(p []byte, at time.Time) {
	if len(p) < 12 || p[0] < 128 || p[0] > 191 || p[1] >= 192 && p[1] <= 223 {
		b.socket.give(p)
		return
	}
	number := binary.BigEndian.Uint16(p[2:])
	if b.counted {
		b.lost += int(number - b.number - 1)
	}
	b.number, b.counted = number, true
	b.packets++
	b.bytes += int64(len(p))
	b.last = at
	if p[1]&0x80 != 0 {
		b.whole = append(b.whole, picture{binary.BigEndian.Uint32(p[4:]), at.UnixNano()})
	}
}

// report says every few seconds that the browsers are there.
func (h *Hall) report() {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-h.stop:
			return
		case <-tick.C:
		}
		h.mu.Lock()
		list := slices.Clone(h.browsers)
		h.mu.Unlock()
		for _, b := range list {
			if b.peer != nil {
				_ = b.peer.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}})
			}
		}
	}
}

// See returns what viewers have received so far, all at the same moment.
func (h *Hall) See(list []*Browser) []Received {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := make([]Received, len(list))
	for n, b := range list {
		seen[n] = Received{b.packets, b.last}
	}
	return seen
}

// Measure lets viewers watch for a while. In the window Lost counts packets.
func (h *Hall) Measure(ctx context.Context, pid int, viewers []*Browser, d time.Duration) (Window, error) {
	h.mu.Lock()
	for _, b := range viewers {
		b.bytes, b.lost, b.whole = 0, 0, b.whole[:0]
	}
	h.late = h.late[:0]
	before := CPU(pid)
	h.mu.Unlock()
	select {
	case <-ctx.Done():
		return Window{}, ctx.Err()
	case <-time.After(d):
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	w := Window{CPU: CPU(pid) - before}
	if len(h.late) == 0 {
		return w, errors.New("the camera has sent no picture")
	}
	slices.Sort(h.late)
	base := h.late[len(h.late)/2]
	for _, b := range viewers {
		w.Gbit += float64(b.bytes) * 8 / 1e9
		w.Lost += b.lost
		for _, p := range b.whole {
			if sent, ok := h.sent[p.timestamp]; ok {
				w.late = append(w.late, time.Duration(p.at-sent)-base)
			}
		}
		const underWay = 3 // at both ends of the window
		w.Lost += max(0, len(h.late)-underWay-len(b.whole))
	}
	w.Whole = len(w.late)
	if w.Whole == 0 {
		return w, errors.New("no picture was delivered")
	}
	slices.Sort(w.late)
	return w, nil
}
