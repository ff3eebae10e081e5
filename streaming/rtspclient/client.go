package rtspclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// Options configure a client. Only Dial is required.
type Options struct {
	// Dial connects by TCP. It is where the policy is: it is called for each connection,
	// also for those that a camera redirects to. What it returns may limit what is read.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Username and Password are sent to the host of the address only, and only if it
	// requests them. If both are "", those in the address are used.
	Username, Password string
	// MayTry is called before credentials are sent that the camera has not accepted yet,
	// or again after it has refused them. An error ends the request. accepted is called
	// once the camera has accepted them; it may be nil. Nil: they may always be sent.
	MayTry func(ctx context.Context, peer netip.Addr) (accepted func(), err error)
	// Refused is called if the camera refuses credentials that it had accepted. It may be
	// nil.
	Refused func(peer netip.Addr)

	// Certificate is the fingerprint that the owner has confirmed for rtsps. Zero: the
	// certificate must be valid for the host by the system's authorities.
	Certificate Fingerprint

	UserAgent string
	// Check is called with the header of each response; an error ends the client.
	Check func(header base.Header) error

	// UDP is for cameras that accept TCP and play nothing, or end the connection: it is not
	// tried. rtsps is always over TCP: UDP would be in clear.
	UDP bool

	// Redirects is how many redirects of DESCRIBE are followed: 3. Negative: none.
	Redirects int

	ResponseTimeout time.Duration // of each response: 10 s
	WriteTimeout    time.Duration // of each request: 5 s

	// Packet receives each RTP packet, as the camera sent it, from SETUP on, also before
	// the response to PLAY. It may keep and change data. Calls for one track are
	// sequential; those for tracks over UDP may be concurrent. Over TCP everything else
	// of the camera, responses included, waits while it runs: to block is to slow the
	// camera down. Nil: they are dropped. It must not call Close.
	Packet func(t *Track, data []byte, arrived time.Time)
	// Report receives each sender report, under the rules of Packet.
	Report func(t *Track, r SenderReport)
	// Bye is called when the camera ends a track, under the rules of Packet. It may be nil.
	Bye func(t *Track)
	// Response is called with each response when it is read: over TCP, after the packets
	// before it and before those after it. It must not block. It may be nil.
	Response func(res *base.Response)
	// Lost is called with the number of UDP packets that did not arrive. It may be nil.
	Lost func(packets int)
	// Odd is called for each packet that belongs to no track or cannot be read. It may be
	// nil.
	Odd func()
}

// Client is a conversation with a camera. Its methods may be called concurrently; the
// requests are sent one after the other.
type Client struct {
	opts Options
	home address // where the credentials belong
	at   address // after redirects

	user, password string
	signer         *Signer
	good           bool   // the camera has accepted the credentials
	accepted       func() // settles the attempt in progress

	turn chan struct{} // held by the request in progress
	cseq int
	link *link

	describedAt string // base of the control URLs
	aggregate   string // what PLAY is sent to
	session     string
	timeout     time.Duration
	public      map[string]bool // methods that the camera lists; nil if unknown

	mu      sync.Mutex // guards the following, which are read by other goroutines
	tracks  []*Track   // set up
	bound   bool       // a track was set up: the streams end with the connection
	playing bool

	channels atomic.Pointer[channels] // of the tracks that are set up

	reporting sync.Mutex
	paused    bool // no reports are sent; guarded by reporting

	once   sync.Once
	ended  chan struct{}
	err    error           // set before ended is closed
	ctx    context.Context // ends with the client
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// maxUnread is how many responses wait to be read: one, and those that nobody asked for.
const maxUnread = 8

// link is one connection.
type link struct {
	net.Conn
	peer      netip.Addr
	writing   sync.Mutex
	responses chan *base.Response
	over      chan struct{} // closed when nothing more is read
	err       error         // set before over is closed

	unanswered int // requests that were given up
}

// Dial connects to a camera. The context limits the connecting only. The client must be
// closed.
func Dial(ctx context.Context, address string, opts Options) (*Client, error) {
	a, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	c := &Client{
		opts: opts.withDefaults(), home: a, at: a, user: opts.Username, password: opts.Password,
		turn: make(chan struct{}, 1), ended: make(chan struct{}), timeout: defaultTimeout,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if c.user == "" && c.password == "" {
		c.user, c.password = a.user, a.password
	}
	c.describedAt, c.aggregate = a.String(), a.String()
	if err := c.connect(ctx); err != nil {
		c.cancel()
		return nil, err
	}
	return c, nil
}

func (o Options) withDefaults() Options {
	if o.ResponseTimeout == 0 {
		o.ResponseTimeout = 10 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 5 * time.Second
	}
	if o.Redirects == 0 {
		o.Redirects = 3
	}
	if o.Packet == nil {
		o.Packet = func(*Track, []byte, time.Time) {}
	}
	if o.Report == nil {
		o.Report = func(*Track, SenderReport) {}
	}
	if o.Bye == nil {
		o.Bye = func(*Track) {}
	}
	if o.Response == nil {
		o.Response = func(*base.Response) {}
	}
	if o.Lost == nil {
		o.Lost = func(int) {}
	}
	if o.Odd == nil {
		o.Odd = func() {}
	}
	return o
}

// connect opens a connection, and reads it until it ends.
func (c *Client) connect(ctx context.Context) error {
	conn, err := c.opts.Dial(ctx, "tcp", c.at.dialed())
	if err != nil {
		return err
	}
	l := &link{Conn: conn, peer: peerOf(conn), responses: make(chan *base.Response, maxUnread), over: make(chan struct{})}
	if c.at.secure {
		name, _ := c.at.split()
		if l.Conn, err = c.secured(ctx, conn, name); err != nil {
			conn.Close()
			return err
		}
	}
	c.mu.Lock()
	if c.isOver() {
		c.mu.Unlock()
		conn.Close()
		return ErrClosed
	}
	c.link = l
	c.work.Go(func() { c.listen(l) })
	c.mu.Unlock()
	return nil
}

func peerOf(conn net.Conn) netip.Addr {
	addr, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap().WithZone("")
}

// Peer returns the IP address of the camera, zero if there is none.
func (c *Client) Peer() netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link.peer
}

// Done is closed when the client has ended: it was closed, or the camera has ended the
// connection after a stream was set up.
func (c *Client) Done() <-chan struct{} { return c.ended }

// Err returns why the client has ended; nil if it has not.
func (c *Client) Err() error {
	select {
	case <-c.ended:
		return c.err
	default:
		return nil
	}
}

// Close ends the streams and the connection, and returns when nothing more is sent to the
// camera and no function of the options is running. It does not wait for the camera.
func (c *Client) Close() {
	c.mu.Lock()
	l, playing := c.link, len(c.tracks) > 0
	c.mu.Unlock()
	if playing && c.Err() == nil {
		c.cancel() // a keepalive gives its turn up
		c.leave(l)
	}
	c.end(ErrClosed)
	c.work.Wait()
}

const leaveTimeout = 500 * time.Millisecond

// leave sends TEARDOWN, unless a request is in progress, or the camera reads nothing.
func (c *Client) leave(l *link) {
	select {
	case c.turn <- struct{}{}:
	case <-time.After(leaveTimeout / 5):
		return
	}
	defer func() { <-c.turn }()
	c.cseq++
	text := c.text(base.Teardown, c.aggregate, c.cseq, nil, nil)
	_ = l.write(text, leaveTimeout)
}

// end ends everything, once.
func (c *Client) end(reason error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.err = reason
		close(c.ended)
		c.cancel()
		l := c.link
		var open []*sockets
		for _, t := range c.tracks {
			open = append(open, t.udp) // a SETUP in progress may forget them
		}
		c.mu.Unlock()
		if l != nil {
			l.Close()
		}
		for _, s := range open {
			s.close()
		}
	})
}

// isOver reports whether the client has ended.
func (c *Client) isOver() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// listen reads a connection until it ends.
func (c *Client) listen(l *link) {
	err := c.reads(l)
	l.err = reading(err)
	l.Close()
	close(l.over)
	c.mu.Lock()
	inUse := c.bound && c.link == l
	c.mu.Unlock()
	if inUse {
		c.end(l.err)
	}
}

// reading names why nothing more is read or written, without the addresses that errors of
// the network contain.
func reading(err error) error {
	var network net.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ErrEnded
	case errors.As(err, &network) && network.Timeout():
		return ErrMute
	case errors.As(err, &network):
		return ErrEnded
	default:
		return err
	}
}

// errPanic is returned for a bug while reading what a camera sends.
var errPanic = errors.New("a panic")

// survive ends the client for a panic: what one camera sends ends nobody else's stream.
func (c *Client) survive() {
	if r := recover(); r != nil {
		slog.Error("reading a camera panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		c.end(errPanic)
	}
}

func (c *Client) reads(l *link) (err error) {
	err = errPanic
	defer c.survive()
	r := newReader(l, c.hasChannel)
	for {
		in, err := r.next()
		switch {
		case err != nil:
			return err
		case in.response != nil && in.response.StatusCode < 200: // the final one follows
		case in.response != nil:
			c.opts.Response(in.response)
			select {
			case l.responses <- in.response:
			case <-c.ended:
				return ErrClosed
			default: // more than were requested
			}
		case in.request != nil:
			if err := c.answer(l, in.request); err != nil {
				return err
			}
		default:
			c.interleaved(in.channel, in.frame, r.from.last)
		}
	}
}

// answer responds to a request of the camera.
func (c *Client) answer(l *link, r *request) error {
	status := "501 Not Implemented"
	switch r.method {
	case base.Options, base.GetParameter, base.SetParameter, base.Announce, "PLAY_NOTIFY":
		status = "200 OK"
	case base.Teardown:
		return ErrEnded
	}
	text := "RTSP/1.0 " + status + "\r\n"
	if r.cseq != "" && len(r.cseq) < 32 && !hasControl(r.cseq) {
		text += "CSeq: " + r.cseq + "\r\n"
	}
	return l.write([]byte(text+"\r\n"), c.opts.WriteTimeout)
}

func (l *link) write(text []byte, within time.Duration) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return reading(err)
	}
	_, err := l.Write(text)
	return reading(err)
}

// text returns a request as it is sent.
func (c *Client) text(method base.Method, uri string, cseq int, header base.Header, body []byte) []byte {
	var b bytes.Buffer
	b.WriteString(string(method) + " " + uri + " RTSP/1.0\r\nCSeq: " + strconv.Itoa(cseq) + "\r\n")
	put := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + strings.Map(plain, value) + "\r\n")
		}
	}
	put("User-Agent", c.opts.UserAgent)
	put("Session", c.session)
	if c.signer != nil {
		put("Authorization", c.signer.Sign(string(method), uri))
	}
	for name, values := range header {
		for _, v := range values {
			put(name, v)
		}
	}
	if len(body) > 0 {
		put("Content-Length", strconv.Itoa(len(body)))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// plain drops what would end a header.
func plain(r rune) rune {
	if r == '\r' || r == '\n' || r == 0 {
		return -1
	}
	return r
}
