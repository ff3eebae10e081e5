package streaming

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// agent names us to cameras, in User-Agent, and to players, in Server. A door
// never serves a door: whoever may watch a camera could otherwise add the
// stream as a camera of their own, and share that on. The addresses of our own
// listeners are not dialled; the name is for what addresses do not show (NAT,
// forwarded ports, another process).
const agent = "Latchkey"

// isAgent reports whether a User-Agent or Server header names a door.
func isAgent(values base.HeaderValue) bool {
	return slices.ContainsFunc(values, func(v string) bool {
		name, _, _ := strings.Cut(strings.TrimSpace(v), "/")
		return strings.EqualFold(name, agent)
	})
}

// NeverDial adds TCP listeners of this process: no camera is dialled at their
// ports on any address of this machine. The door's own is there already. Call it
// before Start.
func (d *Door) NeverDial(listeners ...net.Addr) {
	for _, l := range listeners {
		if tcp, ok := l.(*net.TCPAddr); ok {
			d.ownPorts = append(d.ownPorts, uint16(tcp.Port))
		}
	}
}

// isOwn reports whether an address leads to a listener of this process.
func (d *Door) isOwn(addr netip.AddrPort) bool {
	return slices.Contains(d.ownPorts, addr.Port()) && isLocal(addr.Addr().Unmap().WithZone(""))
}

// isLocal reports whether an address is one of this machine; so is one that is
// not known not to be.
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

// IsOwn reports whether a URL's host is, as it is written, an address of this
// machine and its port one of this process. Other names are judged when they are
// dialled. Call it after Start.
func (d *Door) IsOwn(address string) bool {
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
	return err == nil && d.isOwn(netip.AddrPortFrom(addr, uint16(port)))
}

var defaultPorts = map[string]uint64{"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
