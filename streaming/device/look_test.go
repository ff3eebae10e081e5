package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/simcamera"
)

// TestLook: whatever a person types, the device is found, proven and seen.
func TestLook(t *testing.T) {
	cam := startCamera(t)
	// One that has RTSP alone, at the usual path.
	plain := startCamera(t, func(c *simcamera.Config) { c.HTTP = "" })
	rtsp := func(c *simcamera.Camera) string {
		return strings.Replace(c.URL(1, false), "rtsp://", "rtsp://admin:pa55%20&%20%3Cword%3E@", 1)
	}
	for name, c := range map[string]struct {
		address, user, password string
		want                    Kind // "" for found
		onvif, isapi, picture   bool
		stream                  string
	}{
		"the address of its pages":    {"http://" + cam.HTTPAddr() + "/doc/page/login.asp", "admin", "pa55 & <word>", "", true, true, true, cam.URL(1, false)},
		"its host":                    {" " + cam.HTTPAddr() + " ", "admin", "pa55 & <word>", "", true, true, true, cam.URL(1, false)},
		"its ONVIF service":           {"http://" + cam.HTTPAddr() + "/onvif/device_service", "admin", "pa55 & <word>", "", true, true, true, cam.URL(1, false)},
		"a stream, with the password": {rtsp(plain), "", "", "", false, false, false, plain.URL(1, false)},
		"a host with RTSP alone":      {plain.RTSPAddr(), "admin", "pa55 & <word>", "", false, false, false, "rtsp://" + plain.RTSPAddr() + firstStream},
		"a wrong password":            {cam.HTTPAddr(), "admin", "wrong", WrongPassword, false, false, false, ""},
		"no password":                 {cam.HTTPAddr(), "", "", WrongPassword, false, false, false, ""},
		"no such stream":              {"rtsp://" + plain.RTSPAddr() + "/none", "admin", "pa55 & <word>", NoSuchPath, false, false, false, ""},
		"nobody":                      {"127.1.250.250:9", "admin", "x", NotReachable, false, false, false, ""},
		"no address":                  {"a camera", "admin", "x", Unsupported, false, false, false, ""},
		"another scheme":              {"ftp://" + cam.HTTPAddr(), "admin", "x", Unsupported, false, false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := newClient(t).Look(t.Context(), Typed{Account: "alice", Address: c.address, Username: c.user, Password: c.password})
			if kindIn(err) != c.want || (c.want == "") != (err == nil) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err != nil {
				return
			}
			if f.RTSPURL != c.stream || (f.ONVIFURL != "") != c.onvif || (f.ISAPIURL != "") != c.isapi || f.Password != "pa55 & <word>" {
				t.Errorf("%+v", f)
			}
			if u, err := url.Parse(f.RTSPURL); err != nil || u.User != nil {
				t.Errorf("the stream is %s", f.RTSPURL)
			}
			if _, err := jpeg.Decode(bytes.NewReader(f.Picture)); (err == nil) != c.picture {
				t.Errorf("the picture: %v", err)
			}
			if c.isapi && f.Facts.Model != "DS-2CD2042WD-I" {
				t.Errorf("%+v", f.Facts)
			}
		})
	}
}

// TestLookAsksNobodyElse: what a device says of its streams leads nowhere but to itself.
func TestLookAsksNobodyElse(t *testing.T) {
	cam := startCamera(t)
	home := netip.MustParseAddrPort(cam.HTTPAddr()).Addr()
	client := newClient(t, func(c *Config) {
		c.Allow = func(a netip.AddrPort) error {
			if a.Addr() != home {
				t.Errorf("%v was dialed", a)
			}
			return nil
		}
	})
	if _, err := client.Look(t.Context(), Typed{Account: "alice", Address: cam.HTTPAddr(), Username: "admin", Password: "pa55 & <word>"}); err != nil {
		t.Fatal(err)
	}
	denied := newClient(t, func(c *Config) { c.Allow = func(netip.AddrPort) error { return errors.New("no") } })
	if _, err := denied.Look(t.Context(), Typed{Account: "alice", Address: cam.HTTPAddr()}); kindIn(err) != AddressForbidden {
		t.Errorf("an address that is not allowed: %v", err)
	}
}

// probeMatch is an answer of a device, by its address.
const probeMatch = `<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Header><a:RelatesTo>%s</a:RelatesTo></s:Header><s:Body><d:ProbeMatches><d:ProbeMatch><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/name/Front%%20door onvif://www.onvif.org/hardware/DS-2CD2042WD-I onvif://www.onvif.org/location/x</d:Scopes><d:XAddrs>%s</d:XAddrs></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>`

// TestNeighbours: a device on the network answers for itself; whatever else is sent there
// is nothing.
func TestNeighbours(t *testing.T) {
	client := newClient(t)
	device, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	answers := []string{
		"", "<", strings.Repeat("x", 60_000),
		fmt.Sprintf(probeMatch, "another question", "http://127.0.0.1/onvif/device_service"),
		fmt.Sprintf(probeMatch, "%s", "http://127.0.0.2/onvif/device_service"), // of somebody else
		fmt.Sprintf(probeMatch, "%s", "http://user:secret@127.0.0.1/x file:///etc/passwd http://camera.example/ http://169.254.7.7/onvif/device_service http://127.0.0.1/onvif/device_service"),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		buffer := make([]byte, maxDatagram)
		for {
			n, from, err := device.ReadFromUDP(buffer)
			if err != nil {
				return
			}
			doc, err := parseXML(buffer[:n])
			if err != nil || doc.find("Body", "Probe", "Types") == nil {
				t.Errorf("the question is %q", buffer[:n])
			}
			id := textAt(doc, "Header", "MessageID")
			for _, a := range answers {
				_, _ = device.WriteToUDP([]byte(strings.ReplaceAll(a, "%s", id)), from)
			}
		}
	}()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	found := client.search(t.Context(), []*net.UDPConn{conn}, device.LocalAddr().(*net.UDPAddr), 300*time.Millisecond)
	device.Close()
	<-served
	want := Neighbour{ONVIFURL: "http://127.0.0.1/onvif/device_service", Host: "127.0.0.1", Name: "Front door", Model: "DS-2CD2042WD-I"}
	if len(found) != 1 || found[0] != want {
		t.Errorf("%+v", found)
	}
	strict := newClient(t, func(c *Config) { c.Allow = func(netip.AddrPort) error { return errors.New("no") } })
	if n, ok := strict.neighbourIn(fmt.Appendf(nil, probeMatch, "1", want.ONVIFURL), "1", netip.MustParseAddr("127.0.0.1")); ok {
		t.Errorf("one that may not be dialed: %+v", n)
	}
}

// TestNeighboursAreAskedOnce: pages that are loaded again do not ask again at once.
func TestNeighboursAreAskedOnce(t *testing.T) {
	client := newClient(t)
	client.neighbours.found, client.neighbours.at = []Neighbour{{Host: "kept"}}, time.Now()
	if list, err := client.Neighbours(context.Background()); err != nil || len(list) != 1 || list[0].Host != "kept" {
		t.Errorf("%v, %v", list, err)
	}
}

func FuzzNeighbour(f *testing.F) {
	f.Add(fmt.Appendf(nil, probeMatch, "1", "http://127.0.0.1/onvif/device_service"))
	f.Add([]byte("<"))
	client, err := New(Config{Allow: func(netip.AddrPort) error { return nil }})
	if err != nil {
		f.Fatal(err)
	}
	from := netip.MustParseAddr("127.0.0.1")
	f.Fuzz(func(t *testing.T, datagram []byte) {
		n, ok := client.neighbourIn(datagram, "1", from)
		if !ok {
			return
		}
		u, err := url.Parse(n.ONVIFURL)
		if err != nil || u.Hostname() != from.String() || len([]rune(n.Name)) > maxText || len([]rune(n.Model)) > maxText {
			t.Errorf("%+v", n)
		}
	})
}
