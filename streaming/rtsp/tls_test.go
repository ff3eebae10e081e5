package rtsp

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/mikey"
	sdpformat "github.com/bluenviron/gortsplib/v4/pkg/sdp"
	"github.com/pion/srtp/v3"

	"latchkey/domain/privilege"
	"latchkey/streaming/cameratest"
)

// secured configures RTSPS, with a new certificate of 127.0.0.1.
func secured(t testing.TB) (func(*config), *tls.Config) {
	cert, certificate := selfSigned(t)
	trusted := x509.NewCertPool()
	trusted.AddCert(cert.Leaf)
	return func(c *config) {
		c.TLSAddress, c.Certificate = "127.0.0.1:0", certificate
	}, &tls.Config{RootCAs: trusted}
}

// securePlayer is a player of RTSPS.
func (h *house) securePlayer(t testing.TB, path, key string, cfg *tls.Config) *player {
	t.Helper()
	addr := h.SecureAddr().String()
	tcp, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.Clone()
	cfg.ServerName = "127.0.0.1"
	conn := tls.Client(tcp, cfg)
	p := &player{t: t, conn: conn, tcp: tcp.(*net.TCPConn), in: bufio.NewReader(conn), url: "rtsps://" + addr + path, key: key}
	t.Cleanup(func() { tcp.Close() })
	return p
}

func (p *player) watches(transport string) {
	p.t.Helper()
	if status, err := p.watch(transport); status != 200 {
		p.t.Fatalf("watching over %s: status %d, %v", transport, status, err)
	}
}

// TestRTSPS plays within TLS, and a revocation ends it; without TLS nothing leaves, and
// nothing is sent outside of it.
func TestRTSPS(t *testing.T) {
	t.Parallel()
	with, trust := secured(t)
	h := open(t, (&cameratest.Camera{}).Start(t), with)
	p := h.securePlayer(t, "/dev-1/1", annKey, trust)
	r, err := p.describe()
	r = p.wants(200, "DESCRIBE", r, err)
	if got := r.header.Get("Content-Base"); !strings.HasPrefix(got, "rtsps://") {
		t.Errorf("Content-Base is %q", got)
	}
	r, err = p.setup("udp")
	p.wants(461, "SETUP over UDP without encryption", r, err)
	p.udp[0].Close()
	p.udp[1].Close()
	p.udp = [2]*net.UDPConn{}
	p.watches("tcp")
	if err := p.receive(50); err != nil {
		t.Fatal(err)
	}
	if got := h.viewers.list()[0].transport(); got != "rtsps-tcp" {
		t.Errorf("its transport is %q", got)
	}
	for _, method := range []string{"SET_PARAMETER", "PAUSE", "PLAY"} {
		r, err = p.do(method, p.url)
		p.wants(200, method, r, err)
	}
	plain := h.watching(t, "/dev-1/1", annKey, "tcp") // the other door is open as well
	if err := plain.receive(3); err != nil {
		t.Error(err)
	}
	h.grants.grant("ann", "dev-1", 1, privilege.None)
	h.recheck(t, "ann", "dev-1", "")
	if n, err := p.drain(); err == nil || n > 128<<10 {
		t.Errorf("%d bytes were read after the revocation, %v", n, err)
	}

	tcp, err := net.Dial("tcp", h.SecureAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	_ = tcp.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(tcp, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
	if b, _ := io.ReadAll(tcp); strings.Contains(string(b), "RTSP/") {
		t.Errorf("an answer without TLS: %q", b)
	}
	old := trust.Clone()
	old.MaxVersion = tls.VersionTLS11
	if _, err := h.securePlayer(t, "/dev-1/1", annKey, old).describe(); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

// TestRTSPSKeepsFramesWhole: a viewer that reads in fits and starts loses pictures, and
// never a part of a frame or of a record.
func TestRTSPSKeepsFramesWhole(t *testing.T) {
	t.Parallel()
	with, trust := secured(t)
	h := open(t, (&cameratest.Camera{Rate: 6_000_000, Frame: 300_000}).Start(t), with)
	p := h.securePlayer(t, "/dev-1/1", annKey, trust)
	if err := p.tcp.SetReadBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	p.watches("tcp")
	for n := range 3000 {
		packet, err := p.packet()
		if err != nil {
			t.Fatal(err)
		}
		if version := packet[0] >> 6; version != 2 {
			t.Fatalf("packet %d begins with %#x", n, packet[:12])
		}
		if n%1000 == 500 {
			r, err := p.do("GET_PARAMETER", p.url) // between packets
			p.wants(200, "GET_PARAMETER", r, err)
			time.Sleep(100 * time.Millisecond) // its connection fills up
		}
	}
	time.Sleep(200 * time.Millisecond)
	r, err := p.do("PAUSE", p.url)
	p.wants(200, "PAUSE", r, err)
	r, err = p.play()
	p.wants(200, "PLAY", r, err)
	var numbers []uint16
	for range 100 {
		packet, err := p.packet()
		if err != nil {
			t.Fatal(err)
		}
		if packet[1]&0x7f == 96 {
			numbers = append(numbers, binary.BigEndian.Uint16(packet[2:]))
		}
	}
	if !slices.IsSorted(numbers) && numbers[0] < 60000 {
		t.Errorf("packets are out of order: %v", numbers)
	}
}

// TestRTSPSIsConfigured: what is missing is said before the door opens.
func TestRTSPSIsConfigured(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Address: "127.0.0.1:0", TLSAddress: "nonsense"})
	for _, want := range []string{"TLS address", "TLS needs a certificate"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// TestSRTP plays over UDP within TLS: encrypted, under a key of each viewer and session.
func TestSRTP(t *testing.T) {
	t.Parallel()
	with, trust := secured(t)
	h := open(t, (&cameratest.Camera{}).Start(t), with)
	keys := map[string]bool{}
	// plays sets up and plays, and returns what decrypts it.
	plays := func(p *player, described bool) *srtp.Context {
		t.Helper()
		var sdp description.Session
		if described {
			r, err := p.do("DESCRIBE", p.url+"?srtp")
			r = p.wants(200, "DESCRIBE", r, err)
			var raw sdpformat.SessionDescription
			if err := errors.Join(raw.Unmarshal([]byte(r.body)), sdp.Unmarshal(&raw)); err != nil {
				t.Fatalf("%v: %s", err, r.body)
			}
		}
		port := p.listenUDP().Port
		r, err := p.setupAt(p.url+"/trackID=0", fmt.Sprintf("Transport: RTP/SAVP;unicast;client_port=%d-%d", port, port+1))
		r = p.wants(200, "SETUP", r, err)
		if got := r.header.Get("Transport"); !strings.HasPrefix(got, "RTP/SAVP;") {
			t.Errorf("Transport is %q", got)
		}
		var answered headers.KeyMgmt
		if err := answered.Unmarshal(base.HeaderValue{r.header.Get("Keymgmt")}); err != nil {
			t.Fatal(err)
		}
		key := keyIn(t, answered.MikeyMessage)
		if described && !bytes.Equal(key, keyIn(t, sdp.Medias[0].KeyMgmtMikey)) {
			t.Error("the key of the description is not that of the session")
		}
		if keys[string(key)] {
			t.Error("a key was used twice")
		}
		keys[string(key)] = true
		r, err = p.play()
		p.wants(200, "PLAY", r, err)
		c, err := srtp.CreateContext(key[:16], key[16:], srtp.ProtectionProfileAes128CmHmacSha1_80)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	reads := func(p *player, c *srtp.Context) {
		t.Helper()
		buf := make([]byte, 2048)
		for range 30 {
			_ = p.udp[0].SetReadDeadline(time.Now().Add(udpPatience))
			n, err := p.udp[0].Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.DecryptRTP(nil, buf[:n], nil); err != nil {
				t.Fatalf("a packet is not encrypted under the viewer's key: %v", err)
			}
		}
		_ = p.udp[1].SetReadDeadline(time.Now().Add(udpPatience))
		n, err := p.udp[1].Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.DecryptRTCP(nil, buf[:n], nil); err != nil {
			t.Errorf("a report is not encrypted under the viewer's key: %v", err)
		}
	}
	p := h.securePlayer(t, "/dev-1/1", annKey, trust)
	reads(p, plays(p, true))
	if got := h.viewers.list()[0].transport(); got != "rtsps-udp" {
		t.Errorf("its transport is %q", got)
	}
	other := h.securePlayer(t, "/dev-1/1", annKey, trust)
	reads(other, plays(other, false))
	r, err := p.do("TEARDOWN", p.url)
	p.wants(200, "TEARDOWN", r, err)
	p.session = ""
	reads(p, plays(p, false)) // the key of the description is used up
	h.grants.grant("ann", "dev-1", 1, privilege.None)
	h.recheck(t, "ann", "dev-1", "")
	if n := h.viewers.count(); n != 0 {
		t.Errorf("%d viewers are left", n)
	}
	plain := h.player(t, "/dev-1/1", annKey)
	r, err = plain.setupAt(plain.url+"/trackID=0", "Transport: RTP/SAVP;unicast;client_port=4000-4001")
	plain.wants(461, "SETUP of SRTP without TLS", r, err)
}

// TestTLSAnswersAreBounded: a player that reads nothing, but makes TLS answer, ends.
func TestTLSAnswersAreBounded(t *testing.T) {
	t.Parallel()
	l := &layer{sealed: make([]byte, 1, maxSealed)}
	for range maxSealed - 1 {
		if err := l.queue([]byte{0}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.queue([]byte{0}); !errors.Is(err, errTooMany) || len(l.sealed) != maxSealed {
		t.Errorf("%d bytes wait, %v", len(l.sealed), err)
	}
}

// keyIn returns the key in a MIKEY message.
func keyIn(t *testing.T, m *mikey.Message) []byte {
	t.Helper()
	for _, p := range m.Payloads {
		if p, ok := p.(*mikey.PayloadKEMAC); ok {
			return p.SubPayloads[0].KeyData
		}
	}
	t.Fatal("a message without a key")
	return nil
}

// listenUDP makes the player receive at two new ports, and returns the first.
func (p *player) listenUDP() *net.UDPAddr {
	p.t.Helper()
	pair, err := listenUDP("", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		p.t.Fatal(err)
	}
	p.udp = pair
	p.t.Cleanup(func() { pair[0].Close(); pair[1].Close() })
	return pair[0].LocalAddr().(*net.UDPAddr)
}
