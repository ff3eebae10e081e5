package device

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"

	"latchkey/domain/privilege"
	"latchkey/streaming/upstream"
)

const (
	backChannel = "www.onvif.org/ver20/backchannel" // what whoever wants to talk requires (ONVIF Streaming Specification)
	maxSDP      = 64 << 10
	maxMedias   = 16
	maxBetween  = 64 // interleaved frames before a response
)

// errNotRTSP is returned for a response that is not RTSP.
var errNotRTSP = errors.New("not RTSP")

// rtspSession is a conversation with one RTSP server.
type rtspSession struct {
	proof *proof
	root  *base.URL // of the first stream: the host of all

	conn   *rtspConn    // nil: none is open
	addr   netip.Addr   // where it was connected
	sender *auth.Sender // of our credentials; nil: none were requested yet
	tried  *attempt     // with them

	good    bool // our credentials were accepted
	renewed bool // a stale nonce was replaced, once
}

// parseStream reads the address of a stream.
func parseStream(address string) (*base.URL, error) {
	u, err := base.ParseURL(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("not an RTSP address") // the error would hold it
	}
	return u.CloneWithoutCredentials(), nil
}

// hostPort returns the host and port of an RTSP address.
func hostPort(u *base.URL) string {
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		host, port = strings.Trim(u.Host, "[]"), "554"
		if u.Scheme == "rtsps" {
			port = "322"
		}
	}
	return strings.ToLower(net.JoinHostPort(host, port))
}

// options sends OPTIONS: a response means that the server speaks RTSP. Its content is
// ignored, as devices list what they like.
func (s *rtspSession) options(ctx context.Context) error {
	_, err := s.exchange(ctx, &base.Request{Method: base.Options, URL: s.root, Header: base.Header{}})
	return err
}

// probe requests one stream, and records what it reports about the channel. The first
// response proves that the stream exists; whether it has a back channel is requested
// afterwards, as some devices refuse unknown requirements.
func (s *rtspSession) probe(ctx context.Context, u *base.URL, channel *Channel) error {
	body, err := s.describe(ctx, u, false)
	if err != nil {
		return err
	}
	if channel.Medias, err = mediasOf(body); err != nil {
		return fail(Unsupported, RTSP)
	}
	channel.learn(privilege.LiveView, true)
	body, err = s.describe(ctx, u, true)
	var failure *Failure
	if errors.As(err, &failure) {
		channel.asked = failure.Kind == Unsupported // it responds that it has none
		return nil
	}
	if medias, err := mediasOf(body); err == nil {
		channel.Medias, channel.asked = medias, true
	}
	return nil
}

// describe returns the description of a stream. Credentials are sent once.
func (s *rtspSession) describe(ctx context.Context, u *base.URL, talk bool) ([]byte, error) {
	request := func() *base.Request {
		req := &base.Request{Method: base.Describe, URL: u, Header: base.Header{"Accept": {"application/sdp"}}}
		if talk {
			req.Header["Require"] = base.HeaderValue{backChannel}
		}
		if s.sender != nil {
			s.sender.AddAuthorization(req)
		}
		return req
	}
	res, err := s.exchange(ctx, request())
	if err == nil && res.StatusCode == base.StatusUnauthorized && (s.sender == nil || s.good && !s.renewed && isStale(res)) {
		if err := s.challenged(ctx, res); err != nil {
			return nil, err
		}
		res, err = s.exchange(ctx, request())
	}
	if err != nil {
		return nil, err
	}
	return s.judge(res)
}

// challenged handles a response that requests credentials.
func (s *rtspSession) challenged(ctx context.Context, res *base.Response) error {
	if s.proof.target.Username == "" {
		return fail(WrongPassword, RTSP)
	}
	sender := &auth.Sender{WWWAuth: res.Header["WWW-Authenticate"], User: s.proof.target.Username, Pass: s.proof.target.Password}
	if err := sender.Initialize(); err != nil {
		return fail(Unsupported, RTSP) // it requires an unknown scheme
	}
	tried, err := s.proof.mayTry(ctx, s.addr, RTSP)
	if err != nil {
		return err
	}
	s.renewed = s.sender != nil
	s.sender, s.tried = sender, tried
	return nil
}

// isStale reports whether only the nonce of our credentials is refused.
func isStale(res *base.Response) bool {
	for _, v := range res.Header["WWW-Authenticate"] {
		if strings.Contains(strings.ToLower(strings.ReplaceAll(v, `"`, "")), "stale=true") {
			return true
		}
	}
	return false
}

// judge evaluates the final response to a DESCRIBE.
func (s *rtspSession) judge(res *base.Response) ([]byte, error) {
	refused := res.StatusCode == base.StatusUnauthorized || res.StatusCode == base.StatusForbidden
	switch {
	case s.sender != nil && !refused:
		s.tried.accepted()
		s.good = true
	case s.good && !s.renewed:
		s.proof.client.guard.note(s.addr, s.proof.client.cfg.Now())
	}
	switch res.StatusCode {
	case base.StatusOK:
		if len(res.Body) > maxSDP {
			return nil, fail(Unsupported, RTSP)
		}
		return res.Body, nil
	case base.StatusUnauthorized, base.StatusForbidden:
		return nil, fail(WrongPassword, RTSP)
	case base.StatusNotFound, base.StatusBadRequest:
		return nil, fail(NoSuchPath, RTSP)
	default: // including redirects, which are not followed
		return nil, fail(Unsupported, RTSP)
	}
}

// exchange sends a request and reads its response. A connection that the device has
// closed since the last response is opened again, unless credentials may have been seen.
func (s *rtspSession) exchange(ctx context.Context, req *base.Request) (*base.Response, error) {
	used := s.conn != nil
	if !used {
		if err := s.open(ctx); err != nil {
			return nil, err
		}
	}
	res, err := s.conn.roundTrip(req)
	if err != nil && used && ended(err) && req.Header["Authorization"] == nil {
		s.close()
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		res, err = s.conn.roundTrip(req)
	}
	if err != nil {
		s.close()
		return nil, fail(kindOf(err, NotRTSP), RTSP)
	}
	if upstream.IsAgent(res.Header["Server"]) { // a door never serves a door
		s.close()
		return nil, fail(AddressForbidden, RTSP)
	}
	if closes(res) {
		s.close()
	}
	return res, nil
}

func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// closes reports whether the device ends the connection after a response.
func closes(res *base.Response) bool {
	for _, v := range res.Header["Connection"] {
		if strings.EqualFold(strings.TrimSpace(v), "close") {
			return true
		}
	}
	return false
}

func (s *rtspSession) open(ctx context.Context) error {
	bounded, err := s.proof.client.dial(ctx, "tcp", hostPort(s.root))
	if err != nil {
		return fail(kindOf(err, NotReachable), RTSP)
	}
	s.addr = bounded.address()
	s.conn = &rtspConn{Conn: bounded}
	if s.root.Scheme == "rtsps" {
		host, _, _ := net.SplitHostPort(hostPort(s.root)) // it was made by JoinHostPort
		over, err := bounded.over(ctx, host)
		if err != nil {
			s.close()
			return fail(kindOf(err, NotRTSP), RTSP)
		}
		s.conn.Conn = over
	}
	s.conn.br = bufio.NewReader(s.conn)
	return nil
}

func (s *rtspSession) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// rtspConn is one connection of RTSP, as a client.
type rtspConn struct {
	net.Conn
	br  *bufio.Reader
	seq int
}

func (c *rtspConn) roundTrip(req *base.Request) (*base.Response, error) {
	c.seq++
	req.Header["CSeq"] = base.HeaderValue{strconv.Itoa(c.seq)}
	req.Header["User-Agent"] = base.HeaderValue{upstream.Agent}
	text, err := req.Marshal()
	if err != nil {
		return nil, errNotRTSP
	}
	if _, err := c.Write(text); err != nil {
		return nil, err
	}
	for range maxBetween {
		res, err := readResponse(c.br)
		if err != nil {
			return nil, err
		}
		if res != nil {
			return res, nil
		}
	}
	return nil, errNotRTSP
}

// readResponse reads one response; nil for an interleaved frame, which is skipped.
func readResponse(br *bufio.Reader) (*base.Response, error) {
	first, err := br.Peek(1)
	if err != nil {
		return nil, err
	}
	if first[0] == base.InterleavedFrameMagicByte {
		var frame base.InterleavedFrame
		return nil, frame.Unmarshal(br)
	}
	const start = "RTSP/"
	head, err := br.Peek(len(start))
	if err != nil || string(head) != start {
		if err != nil && !ended(err) {
			return nil, err
		}
		return nil, errNotRTSP
	}
	var res base.Response
	if err := res.Unmarshal(br); err != nil {
		return nil, fmt.Errorf("reading a response: %w", err)
	}
	return &res, nil
}

var errNothingToSee = errors.New("neither video nor audio")

// mediasOf reads a description in the same way as the streams of cameras (package
// upstream).
func mediasOf(body []byte) ([]Media, error) {
	if len(body) > maxSDP {
		return nil, errTooLong
	}
	var text sdp.SessionDescription
	if err := text.Unmarshal(body); err != nil {
		return nil, fmt.Errorf("reading a description: %w", err)
	}
	var session description.Session
	if err := session.Unmarshal(&text); err != nil {
		return nil, fmt.Errorf("reading a description: %w", err)
	}
	var out []Media
	plays := false
	for _, m := range session.Medias {
		if m.Type != description.MediaTypeVideo && m.Type != description.MediaTypeAudio || len(out) == maxMedias {
			continue
		}
		out = append(out, Media{Kind: string(m.Type), Codec: codecOf(m.Formats), BackChannel: m.IsBackChannel})
		plays = plays || !m.IsBackChannel
	}
	if !plays {
		return nil, errNothingToSee
	}
	return out, nil
}

func codecOf(formats []format.Format) string {
	if len(formats) == 0 {
		return ""
	}
	return printable(formats[0].Codec())
}
