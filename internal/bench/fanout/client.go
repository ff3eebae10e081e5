package fanout

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Transport is how a viewer gets its packets.
type Transport string

// The transports.
const (
	TCP   Transport = "TCP"
	UDP   Transport = "UDP"
	RTSPS Transport = "RTSPS" // interleaved, within TLS
)

// Target is what a viewer watches.
type Target struct {
	Address string
	Path    string
	Auth    string // the Authorization header; "" for none
	Over    Transport
}

// session is a played stream, from the viewer's side.
type session struct {
	target Target
	conn   io.WriteCloser
	in     *bufio.Reader
	url    string
	id     string
	seq    int
	rtp    int // sockets of UDP, -1 without
	rtcp   int

	early func(channel byte, packet []byte) // gets what is sent before PLAY is answered; nil: nobody
}

const handshakeTime = 20 * time.Second

// dial plays a stream.
func dial(ctx context.Context, t Target, early func(byte, []byte)) (*session, error) {
	s := &session{target: t, rtp: -1, rtcp: -1, early: early}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, err
	}
	scheme := "rtsp"
	if t.Over == RTSPS {
		scheme, conn = "rtsps", tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // on loopback, for measuring
	}
	s.url = scheme + "://" + t.Address + t.Path
	s.conn, s.in = conn, bufio.NewReaderSize(conn, 16<<10)
	if err := conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		s.close()
		return nil, err
	}
	if err := s.play(); err != nil {
		s.close()
		return nil, err
	}
	return s, conn.SetDeadline(time.Time{})
}

func (s *session) play() error {
	sdp, err := s.ask("DESCRIBE", s.url, "Accept: application/sdp")
	if err != nil {
		return err
	}
	transport := "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
	if s.target.Over == UDP {
		port, err := s.openPair()
		if err != nil {
			return err
		}
		transport = fmt.Sprintf("Transport: RTP/AVP;unicast;client_port=%d-%d", port, port+1)
	}
	if _, err := s.ask("SETUP", trackURL(s.url, sdp), transport); err != nil {
		return err
	}
	_, err = s.ask("PLAY", s.url, "Range: npt=0.000-")
	return err
}

// send sends a request without waiting for its response.
func (s *session) send(method, url string, headers ...string) error {
	s.seq++
	request := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n", method, url, s.seq)
	if s.target.Auth != "" {
		headers = append(headers, "Authorization: "+s.target.Auth)
	}
	if s.id != "" {
		headers = append(headers, "Session: "+s.id)
	}
	for _, h := range headers {
		request += h + "\r\n"
	}
	_, err := io.WriteString(s.conn, request+"\r\n")
	return err
}

func (s *session) ask(method, url string, headers ...string) (body string, err error) {
	if err := s.send(method, url, headers...); err != nil {
		return "", err
	}
	if err := s.takeEarly(); err != nil {
		return "", err
	}
	tp := textproto.NewReader(s.in)
	line, err := tp.ReadLine()
	if err != nil {
		return "", fmt.Errorf("%s: %w", method, err)
	}
	if !strings.Contains(line, " 200 ") {
		return "", fmt.Errorf("%s: %s", method, line)
	}
	header, err := tp.ReadMIMEHeader()
	if err != nil {
		return "", fmt.Errorf("%s: %w", method, err)
	}
	if id, _, _ := strings.Cut(header.Get("Session"), ";"); id != "" {
		s.id = id
	}
	n, _ := strconv.Atoi(header.Get("Content-Length")) // none: no body
	text := make([]byte, n)
	_, err = io.ReadFull(s.in, text)
	return string(text), err
}

// takeEarly takes packets that come before a response.
func (s *session) takeEarly() error {
	for {
		first, err := s.in.Peek(1)
		if err != nil || first[0] != '$' {
			return err
		}
		packet, err := peekPacket(s.in)
		if err != nil {
			return err
		}
		if s.early != nil {
			s.early(packet[1], packet[4:])
		}
		if _, err := s.in.Discard(len(packet)); err != nil {
			return err
		}
	}
}

// trackURL returns the address of the first track.
func trackURL(url, sdp string) string {
	_, track, _ := strings.Cut(sdp, "m=video")
	for line := range strings.Lines(track) {
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "a=control:"); ok {
			if strings.Contains(c, "://") {
				return c
			}
			return url + "/" + c
		}
	}
	return url
}

func (s *session) close() {
	s.conn.Close()
	for _, fd := range []int{s.rtp, s.rtcp} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	s.rtp, s.rtcp = -1, -1
}

// receiveBuffer holds the pictures of some seconds: what a viewer loses here, the door did
// not lose.
const receiveBuffer = 2 << 20

// openPair opens the sockets of a UDP viewer on two ports that follow each other.
func (s *session) openPair() (port int, err error) {
	for range 1000 {
		if s.rtp, port, err = datagramSocket(0, receiveBuffer); err != nil {
			return 0, err
		}
		if port%2 == 0 {
			if s.rtcp, _, err = datagramSocket(port+1, 64<<10); err == nil {
				return port, nil
			}
		}
		_ = unix.Close(s.rtp)
	}
	s.rtp = -1
	return 0, errors.New("no two free UDP ports")
}

func datagramSocket(port, buffer int) (fd, bound int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil { // needs a privilege
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: loopback}); err != nil {
		_ = unix.Close(fd)
		return -1, 0, err
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, err
	}
	return fd, own.(*unix.SockaddrInet4).Port, nil
}
