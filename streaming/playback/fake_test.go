package playback

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/streaming/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 10 * time.Second
	frame    = 40 * time.Millisecond // of what is recorded
	codeKey  = 5                     // NAL units
	codeNext = 1
)

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// recorder plays a day that has no end. Each packet says in its payload what it shows.
type recorder struct {
	t        testing.TB
	listener net.Listener

	gop       time.Duration // it begins at a key frame: every gop of the recording
	pace      time.Duration // wall time of a frame
	ignoreEnd bool
	mute      bool // says nothing in the response to PLAY
	noPause   bool
	noScale   bool // ignores Scale
	onward    bool // refuses to play backwards
	media     bool // timestamps count what is recorded, also when it is scaled
	replay    bool // tells in each packet what it shows, and requires Require
	until     time.Time
	refuse    int      // the status of each PLAY
	says      []string // more of the response to PLAY; %s is its address
	size      int      // of a packet

	open, most atomic.Int32 // connections
}

func (r *recorder) start(t testing.TB) *recorder {
	r.t = t
	if r.gop == 0 {
		r.gop = frame
	}
	if r.pace == 0 {
		r.pace = time.Millisecond
	}
	var err error
	if r.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := r.listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		r.listener.Close()
		all.Wait()
	})
	return r
}

// tape is what one connection plays.
type tape struct {
	*recorder
	conn    net.Conn
	writing sync.Mutex
	begin   time.Time // of its address
	at      time.Time
	seq     uint16
	ts      uint32
	stop    chan struct{}
	ended   chan struct{}
}

func (r *recorder) serve(conn net.Conn) {
	n := r.open.Add(1)
	for most := r.most.Load(); n > most && !r.most.CompareAndSwap(most, n); most = r.most.Load() {
	}
	p := &tape{recorder: r, conn: conn, seq: 1000, ts: 77777}
	defer func() { p.pause(); conn.Close(); r.open.Add(-1) }()
	in := textproto.NewReader(bufio.NewReader(conn))
	for {
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "$") { // a receiver report
			return
		}
		header, err := in.ReadMIMEHeader()
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		p.answer(fields[0], fields[1], header)
		if fields[0] == "TEARDOWN" {
			return
		}
	}
}

func (p *tape) say(status string, header textproto.MIMEHeader, lines ...string) {
	p.writing.Lock()
	defer p.writing.Unlock()
	text := "RTSP/1.0 " + status + "\r\nCSeq: " + header.Get("CSeq") + "\r\nSession: 1\r\n"
	body := ""
	for _, l := range lines {
		if strings.HasPrefix(l, "v=0") {
			body = l
			l = "Content-Length: " + strconv.Itoa(len(l))
		}
		text += l + "\r\n"
	}
	_, _ = io.WriteString(p.conn, text+"\r\n"+body)
}

func (p *tape) answer(method, address string, header textproto.MIMEHeader) {
	switch method {
	case "DESCRIBE":
		u, _ := url.Parse(address)
		p.begin, _ = ParseTime(u.Query().Get("starttime"))
		p.say("200 OK", header, "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:one\r\nm=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n")
	case "SETUP":
		if p.replay && header.Get("Require") != "onvif-replay" {
			p.say("551 Option not supported", header)
			return
		}
		p.say("200 OK", header, "Transport: "+header.Get("Transport"))
	case "PLAY":
		p.play(address, header)
	case "PAUSE":
		if p.noPause {
			p.say("405 Method Not Allowed", header)
			return
		}
		p.pause()
		p.say("200 OK", header)
	default:
		p.say("200 OK", header)
	}
}

func (p *tape) play(address string, header textproto.MIMEHeader) {
	if p.onward && strings.HasPrefix(header.Get("Scale"), "-") {
		p.say("457 Invalid Range", header)
		return
	}
	if p.refuse != 0 {
		p.say(strconv.Itoa(p.refuse)+" No", header)
		return
	}
	p.pause()
	p.ts += 12345
	var end time.Time
	scale := 1.0
	if v := header.Get("Scale"); v != "" && !p.noScale {
		scale, _ = strconv.ParseFloat(v, 64)
	}
	start, from := p.at, p.at // it goes on
	if v := header.Get("Range"); v != "" {
		asked, err := ParseRange(v, p.begin)
		if err != nil {
			p.say("457 Invalid Range", header)
			return
		}
		start, end = asked.Start, asked.End
		from = start.Truncate(p.gop) // it begins at a key frame
	}
	lines := []string{}
	if !p.mute {
		lines = append(lines, "Range: "+Range{Start: start}.text(time.Time{}),
			fmt.Sprintf("RTP-Info: url=rtsp://%s/one;seq=%d;rtptime=%d", p.conn.LocalAddr(), p.seq, p.ts))
		if !p.noScale && header.Get("Scale") != "" {
			lines = append(lines, "Scale: "+header.Get("Scale"))
		}
	}
	for _, l := range p.says {
		lines = append(lines, strings.ReplaceAll(l, "%s", p.conn.LocalAddr().String()))
	}
	p.say("200 OK", header, lines...)
	if p.ignoreEnd {
		end = time.Time{}
	}
	p.stop, p.ended = make(chan struct{}), make(chan struct{})
	go p.send(from, start, end, scale, p.stop, p.ended)
}

func (p *tape) pause() {
	if p.stop != nil {
		close(p.stop)
		<-p.ended
		p.stop = nil
	}
}

// send plays from a time on; its timestamps count from start.
func (p *tape) send(at, start, end time.Time, scale float64, stop, ended chan struct{}) {
	defer close(ended)
	base := p.ts
	step := time.Duration(float64(frame) * scale)
	for ; ; at = at.Add(step) {
		p.at = at
		if !end.IsZero() && (scale > 0 && !at.Before(end) || scale < 0 && at.Before(end)) || !p.until.IsZero() && !at.Before(p.until) {
			p.writing.Lock()
			_, _ = p.conn.Write([]byte{'$', 1, 0, 8, 0x81, 203, 0, 1, 0, 0, 0, 7})
			p.writing.Unlock()
			return
		}
		line := float64(at.Sub(start)) / scale
		if p.media {
			line = float64(at.Sub(start))
		}
		if scale < 0 && p.media {
			line = -line
		}
		p.ts = base + uint32(int64(line*90000/float64(time.Second)))
		if !p.packet(at, at.Equal(at.Truncate(p.gop)) || scale != 1) {
			return
		}
		p.at = at.Add(step)
		select {
		case <-stop:
			return
		case <-time.After(p.pace):
		}
	}
}

func (p *tape) packet(at time.Time, key bool) bool {
	data := make([]byte, 12, 64)
	data[0], data[1] = 0x80, 0x80|96
	binary.BigEndian.PutUint16(data[2:], p.seq)
	binary.BigEndian.PutUint32(data[4:], p.ts)
	binary.BigEndian.PutUint32(data[8:], 7)
	p.seq++
	if p.replay {
		data[0] |= 0x10
		data = append(data, 0xab, 0xac, 0, 3)
		data = binary.BigEndian.AppendUint64(data, upstream.NTP(at))
		data = append(data, 0, 99, 0, 0)
	}
	code := byte(codeNext)
	if key {
		code = codeKey
	}
	data = append(data, 0x60|code)
	data = binary.BigEndian.AppendUint64(data, uint64(at.UnixNano()))
	data = append(data, make([]byte, p.size)...)
	p.writing.Lock()
	defer p.writing.Unlock()
	_, err := p.conn.Write(append([]byte{'$', 0, byte(len(data) >> 8), byte(len(data))}, data...))
	return err == nil
}

// got is a packet as a viewer gets it.
type got struct {
	shows     time.Time
	key       bool
	seq       uint16
	timestamp uint32
	extension []byte
}

// eye is a viewer.
type eye struct {
	mu      sync.Mutex
	list    []got
	ends    int
	reports int
	slow    time.Duration
	denied  bool
}

func (e *eye) Permitted() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.denied
}

func (e *eye) Send(_ int, data []byte) error {
	p, _ := partsOf(data)
	e.mu.Lock()
	slow := e.slow
	e.list = append(e.list, got{
		shows: time.Unix(0, int64(binary.BigEndian.Uint64(p.payload[1:]))).UTC(), key: p.payload[0]&0x1f == codeKey,
		seq: upstream.Sequence(data), timestamp: upstream.Timestamp(data), extension: p.extension,
	})
	e.mu.Unlock()
	time.Sleep(slow)
	return nil
}

func (e *eye) Report(int, uint64, uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reports++
}

func (e *eye) End() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ends++
}

func (e *eye) saw() []got {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]got(nil), e.list...)
}

func (e *eye) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = nil
}

func (e *eye) ended() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ends
}

// last returns what the viewer saw last.
func (e *eye) last() time.Time {
	list := e.saw()
	if len(list) == 0 {
		return time.Time{}
	}
	return list[len(list)-1].shows
}

var day = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return day.Add(time.Duration(seconds * float64(time.Second))) }

// rule is what may be seen.
type rule struct {
	mu sync.Mutex
	privilege.Interval
	moves time.Time // since when it moves with the time; zero: never
}

func (r *rule) playable(within privilege.Interval, now time.Time) (privilege.Interval, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.Interval
	if !r.moves.IsZero() {
		i.From, i.To = i.From.Add(now.Sub(r.moves)), i.To.Add(now.Sub(r.moves))
	}
	first := within.Within(i)
	return first, !first.Empty()
}

func (r *rule) set(from, to time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.From, r.To = from, to
}

// fixed is the source of a recorder.
type fixed struct{ Source }

func (f fixed) Recordings(context.Context, ids.Device, int, bool) (Source, error) {
	return f.Source, nil
}

func (r *recorder) source() Source {
	s, _ := Track("rtsp://" + r.listener.Addr().String() + "/Streaming/Channels/101")
	if r.replay {
		return Source{URL: "rtsp://" + r.listener.Addr().String() + "/replay", Replay: true}
	}
	return s
}

// recorders reaches a recorder.
func (r *recorder) recorders(change ...func(*Config)) *Recorders {
	cfg := Config{
		Sources: fixed{r.source()},
		Contact: func(ctx context.Context, _ ids.Device, _ string, talk func(context.Context, upstream.DialFunc) error) error {
			return talk(ctx, (&net.Dialer{}).DialContext)
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	return New(cfg)
}

// opened is a session that is open, and its viewer.
func (r *recorder) opened(t testing.TB, from, to time.Time, may *rule, change ...func(*Config)) (*Session, *eye) {
	t.Helper()
	s, err := r.recorders(change...).Open(t.Context(), Use{Account: "ann", Device: "dev", Channel: 1, From: from, To: to, Playable: may.playable})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	e := &eye{}
	s.Want(0)
	s.Begin(e)
	return s, e
}

// plays is Play and Release.
func plays(t testing.TB, s *Session, r Request) Playing {
	t.Helper()
	p, err := s.Play(t.Context(), r)
	if err != nil {
		t.Fatalf("playing %+v: %v", r, err)
	}
	s.Release()
	return p
}

// everything is what an owner may see.
func everything() *rule { return &rule{Interval: privilege.Interval{To: time.Now()}} }
