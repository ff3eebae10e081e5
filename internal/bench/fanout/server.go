package fanout

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
)

// server is the little of an RTSP server that players and doors on this machine need.
type server struct {
	feed      func(path string, s *stream)
	datagrams *datagrams // nil: interleaved only

	mu      sync.Mutex
	sending sync.Mutex
	streams map[string]*stream
}

func newServer(feed func(path string, s *stream)) *server {
	return &server{feed: feed, streams: map[string]*stream{}}
}

func (s *server) serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go s.converse(c)
	}
}

// stream returns the stream at a path.
func (s *server) stream(path string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[path] == nil {
		s.streams[path] = &stream{datagrams: s.datagrams, sending: &s.sending, feed: func(to *stream) { s.feed(path, to) }}
	}
	return s.streams[path]
}

// conversation is a connection of a player.
type conversation struct {
	*server
	conn    net.Conn
	in      *bufio.Reader
	viewer  receiver
	playing *stream // nil before PLAY
}

func (s *server) converse(conn net.Conn) {
	c := &conversation{server: s, conn: conn, in: bufio.NewReader(conn), viewer: receiver{conn: conn}}
	c.viewer.secure, _ = conn.(*tls.Conn)
	for c.next() == nil {
	}
	if c.playing != nil {
		c.playing.leave(&c.viewer)
	}
	conn.Close()
}

var errTornDown = errors.New("torn down")

// next handles a request, or an interleaved packet of the player.
func (c *conversation) next() error {
	if first, err := c.in.Peek(4); err != nil {
		return err
	} else if first[0] == '$' {
		_, err := c.in.Discard(4 + int(binary.BigEndian.Uint16(first[2:])))
		return err
	}
	tp := textproto.NewReader(c.in)
	line, err := tp.ReadLine()
	if err != nil {
		return err
	}
	header, err := tp.ReadMIMEHeader()
	if err != nil {
		return err
	}
	method, rest, _ := strings.Cut(line, " ")
	url, _, _ := strings.Cut(rest, " ")
	status, more, body := "200 OK", "Session: 1;timeout=60\r\n", ""
	switch method {
	case "OPTIONS":
		more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n"
	case "DESCRIBE":
		body = description
		more = fmt.Sprintf("Content-Base: %s/\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n", strings.TrimSuffix(url, "/"), len(body))
	case "SETUP":
		transport, ok := c.transport(header.Get("Transport"))
		if !ok {
			status = "461 Unsupported Transport"
		}
		more += "Transport: " + transport + "\r\n"
	}
	if err := c.answer("RTSP/1.0 " + status + "\r\nCSeq: " + header.Get("Cseq") + "\r\n" + more + "\r\n" + body); err != nil {
		return err
	}
	switch method {
	case "PLAY":
		return c.play(url)
	case "TEARDOWN":
		return errTornDown
	}
	return nil
}

func (c *conversation) answer(text string) error {
	if c.playing != nil {
		return c.playing.answer(&c.viewer, text)
	}
	_, err := io.WriteString(c.conn, text)
	return err
}

func (c *conversation) transport(asked string) (string, bool) {
	if strings.Contains(asked, "TCP") {
		return "RTP/AVP/TCP;unicast;interleaved=0-1", true
	}
	_, ports, ok := strings.Cut(asked, "client_port=")
	if !ok || c.datagrams == nil {
		return "RTP/AVP/TCP;unicast", false
	}
	ports, _, _ = strings.Cut(ports, ";")
	first, _, _ := strings.Cut(ports, "-")
	port, err := strconv.Atoi(first)
	if err != nil {
		return "", false
	}
	c.viewer.to = socketAddress(port)
	return fmt.Sprintf("RTP/AVP;unicast;client_port=%s;server_port=%d-%d", ports, c.datagrams.port, c.datagrams.port+1), true
}

// play joins the stream that the URL names.
func (c *conversation) play(url string) error {
	if c.playing != nil {
		return nil
	}
	_, rest, _ := strings.Cut(url, "://")
	_, path, _ := strings.Cut(rest, "/")
	c.playing = c.stream("/" + strings.TrimSuffix(path, "/"))
	return c.playing.join(&c.viewer)
}
