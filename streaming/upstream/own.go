package upstream

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// Agent is our name for cameras, in User-Agent, and for players, in Server. A door never
// serves a door: a viewer could otherwise add the stream as a camera of their own, and
// share it on. The addresses of our own listeners are not dialed; the name covers what
// addresses do not reveal (NAT, forwarded ports, another process).
const Agent = "Latchkey"

// IsAgent reports whether a User-Agent or Server header names a door.
func IsAgent(values base.HeaderValue) bool {
	return slices.ContainsFunc(values, func(v string) bool {
		name, _, _ := strings.Cut(strings.TrimSpace(v), "/")
		return strings.EqualFold(name, Agent)
	})
}

// listeners are the ports of this process's TCP listeners.
type listeners struct {
	mu    sync.RWMutex
	ports []uint16
}

// has reports whether an address leads to a listener of this process.
func (l *listeners) has(addr netip.AddrPort) bool {
	l.mu.RLock()
	own := slices.Contains(l.ports, addr.Port())
	l.mu.RUnlock()
	return own && isLocal(addr.Addr().Unmap().WithZone(""))
}

// NeverDial adds TCP listeners of this process: no camera is dialed at their ports on any
// address of this machine. Doors add their own.
func (p *Pool) NeverDial(listeners ...net.Addr) {
	p.own.mu.Lock()
	defer p.own.mu.Unlock()
	for _, l := range listeners {
		if tcp, ok := l.(*net.TCPAddr); ok {
			p.own.ports = append(p.own.ports, uint16(tcp.Port))
		}
	}
}

// isLocal reports whether an address may be one of this machine.
func isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() || addr.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap().WithZone("") == addr
	})
}

// IsOwn reports whether a URL's host is, literally, an address of this machine and its
// port one of this process. Host names are checked when they are dialed. Call it when all
// listeners are known.
func (p *Pool) IsOwn(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		port = defaultPorts[u.Scheme]
	}
	host := u.Hostname()
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && p.own.has(netip.AddrPortFrom(addr, uint16(port)))
}

var defaultPorts = map[string]uint64{"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
