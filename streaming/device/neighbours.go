package device

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// Neighbour is a device that says of itself, by WS-Discovery, that it is a camera or a
// recorder. Nothing of it is proven.
type Neighbour struct {
	ONVIFURL string // at the address that the answer came from
	Host     string // of it, with its port unless that is the usual one
	Name     string // one line, at most 128 characters; "" if it says none
	Model    string // the same
}

const (
	// neighboursWithin is how long answers are waited for, and what is found is kept for
	// neighboursFor, so that pages that are loaded again do not flood the network.
	neighboursWithin = 2 * time.Second
	neighboursFor    = 5 * time.Second
	maxNeighbours    = 64
	maxInterfaces    = 16
	maxDatagram      = 64 << 10
)

// discovery is where devices are asked (WS-Discovery 1.1, 3.1.1).
var discovery = &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 3702}

// neighbours asks the local networks, once at a time.
type neighbours struct {
	mu    sync.Mutex
	found []Neighbour
	at    time.Time
}

// Neighbours asks the networks of this machine which cameras and recorders there are, and
// returns those that answer within two seconds, at most 64, in the order of their
// addresses. Questions do not leave the local network. Devices whose address the policy
// does not allow are left out.
func (c *Client) Neighbours(ctx context.Context) ([]Neighbour, error) {
	c.neighbours.mu.Lock()
	defer c.neighbours.mu.Unlock()
	if now := c.cfg.Now(); c.neighbours.at.IsZero() || now.Sub(c.neighbours.at) > neighboursFor {
		conns, err := openInterfaces()
		if err != nil {
			return nil, err
		}
		c.neighbours.found = c.search(ctx, conns, discovery, neighboursWithin)
		c.neighbours.at = c.cfg.Now()
	}
	return slices.Clone(c.neighbours.found), nil
}

// openInterfaces opens a socket on each network of this machine that does multicast.
func openInterfaces() ([]*net.UDPConn, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("reading the networks of this machine: %w", err)
	}
	var conns []*net.UDPConn
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagMulticast == 0 || i.Flags&net.FlagLoopback != 0 || len(conns) == maxInterfaces {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			network, ok := a.(*net.IPNet)
			if !ok || network.IP.To4() == nil {
				continue
			}
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: network.IP})
			if err != nil {
				break
			}
			p := ipv4.NewPacketConn(conn)
			_, _ = p.SetMulticastInterface(&i), p.SetMulticastTTL(1) // else the socket's address decides, and 1 is the default
			conns = append(conns, conn)
			break
		}
	}
	return conns, nil
}

// search asks through each socket, twice, as datagrams get lost, and closes them.
func (c *Client) search(ctx context.Context, conns []*net.UDPConn, to *net.UDPAddr, within time.Duration) []Neighbour {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	id := newMessageID()
	found := map[string]Neighbour{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, conn := range conns {
		all.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
			for range 2 {
				_, _ = conn.WriteToUDP(probeMessage(id), to) // a network that is down has no cameras
			}
			buffer := make([]byte, maxDatagram)
			for {
				n, from, err := conn.ReadFromUDPAddrPort(buffer)
				if err != nil {
					return
				}
				neighbour, ok := c.neighbourIn(buffer[:n], id, from.Addr().Unmap())
				mu.Lock()
				if ok && len(found) < maxNeighbours {
					found[neighbour.ONVIFURL] = neighbour
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	list := make([]Neighbour, 0, len(found))
	for _, n := range found {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b Neighbour) int { return strings.Compare(a.ONVIFURL, b.ONVIFURL) })
	return list
}

func newMessageID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// probeMessage asks for transmitters of video: cameras, and recorders.
func probeMessage(id string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>` +
		`<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">` +
		`<e:Header><w:MessageID>` + id + `</w:MessageID><w:To e:mustUnderstand="true">urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>` +
		`<w:Action e:mustUnderstand="true">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>` +
		`<e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>`)
}

// neighbourIn reads an answer to our question. A device speaks for itself only: its
// address is that which the answer came from.
func (c *Client) neighbourIn(datagram []byte, id string, from netip.Addr) (Neighbour, bool) {
	doc, err := parseXML(datagram)
	if err != nil || strings.TrimSpace(textAt(doc, "Header", "RelatesTo")) != id {
		return Neighbour{}, false
	}
	match := doc.find("Body", "ProbeMatches", "ProbeMatch")
	for _, text := range strings.Fields(textAt(match, "XAddrs")) {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || len(text) > maxSnapshotURI {
			continue
		}
		addr, err := netip.ParseAddrPort(withPort(u))
		if err != nil || addr.Addr().Unmap() != from || c.cfg.Allow(addr) != nil {
			continue
		}
		u.RawQuery, u.Fragment = "", ""
		n := Neighbour{ONVIFURL: u.String(), Host: u.Host}
		for _, scope := range strings.Fields(textAt(match, "Scopes")) {
			if name, ok := strings.CutPrefix(scope, "onvif://www.onvif.org/name/"); ok {
				n.Name = scopeText(name)
			} else if model, ok := strings.CutPrefix(scope, "onvif://www.onvif.org/hardware/"); ok {
				n.Model = scopeText(model)
			}
		}
		return n, true
	}
	return Neighbour{}, false
}

func textAt(e *element, path ...string) string {
	if e = e.find(path...); e == nil {
		return ""
	}
	return e.text
}

// withPort returns the host and port of an address of a web server.
func withPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// scopeText decodes a part of a scope, for people.
func scopeText(part string) string {
	text, err := url.PathUnescape(part)
	if err != nil {
		return ""
	}
	return printable(text)
}
