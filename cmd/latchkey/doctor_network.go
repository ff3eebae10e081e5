package main

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// ports tries the addresses that the service listens on.
func (d *doctor) ports(ctx context.Context) (list []finding) {
	for _, p := range []struct{ flag, network, at string }{
		{"--http", "tcp", d.o.HTTP}, {"--https", "tcp", d.o.HTTPS}, {"--rtsp", "tcp", d.o.RTSP}, {"--rtsps", "tcp", d.o.RTSPS}, {"--webrtc", "udp", d.webrtcAt()},
	} {
		if p.at != "" {
			list = append(list, d.port(ctx, p.flag, p.network, p.at))
		}
	}
	return list
}

// webrtcAt returns where the UDP port of live view would be; "" if it is off.
func (d *doctor) webrtcAt() string {
	switch {
	case d.o.WebRTC == off:
		return ""
	case d.o.WebRTC != "":
		return d.o.WebRTC
	case d.o.strangers:
		return net.JoinHostPort("0.0.0.0", usualWebRTC)
	}
	return net.JoinHostPort("127.0.0.1", usualWebRTC)
}

func (d *doctor) port(ctx context.Context, flag, network, at string) finding {
	var l interface{ Close() error }
	var err error
	if network == "udp" {
		l, err = new(net.ListenConfig).ListenPacket(ctx, network, at)
	} else {
		l, err = new(net.ListenConfig).Listen(ctx, network, at)
	}
	f := ok("ports", "%s %s (%s) is free", flag, at, network)
	if err == nil {
		_ = l.Close()
		return f
	}
	f.Text = flag + " " + at + " (" + network + "): " + err.Error()
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && d.running.there:
		return ok("ports", "%s %s (%s) is in use, by the running service as it seems", flag, at, network)
	case errors.Is(err, syscall.EADDRINUSE) && flag == "--webrtc" && d.o.WebRTC == "":
		return f.but(warning, "Another program has the default port, so another one is used, which a firewall may not let through: choose one with --webrtc.")
	case errors.Is(err, syscall.EADDRINUSE):
		return f.but(problem, "Another program has this port: stop it (ss -lptn shows which), or choose another with "+flag+".")
	case errors.Is(err, syscall.EACCES):
		return f.but(problem, "This user may not open ports below 1024: choose a higher one, or give the service CAP_NET_BIND_SERVICE.")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return f.but(problem, "This machine has no such address: use one of its own, or 0.0.0.0 for all.")
	}
	return f.but(problem, "Choose another address with "+flag+".")
}

// candidates are the addresses that browsers are told for live view.
func (d *doctor) candidates(context.Context) []finding {
	at := d.webrtcAt()
	if at == "" {
		return []finding{ok("candidates", "live view in browsers is off").but(warning, "Browsers see no live pictures by WebRTC: leave out --webrtc off.")}
	}
	addr, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		return []finding{ok("candidates", "%v", err).but(problem, "Correct --webrtc.")}
	}
	hosts := reachable(&net.TCPAddr{IP: addr.IP, Port: addr.Port})
	public := 0
	for _, text := range hosts {
		if a, err := netip.ParseAddr(text); err == nil && isPublic(a) {
			public++
		}
	}
	for _, a := range d.o.webrtcAddresses {
		hosts = append(hosts, a.String())
		if isPublic(a) {
			public++
		}
	}
	f := ok("candidates", "browsers are told %s for live view", cmp.Or(strings.Join(hosts, ", "), "no address"))
	switch {
	case len(hosts) == 0:
		return []finding{f.but(problem, "This machine has no address: connect it to a network, or name one with --webrtc-address.")}
	case addr.IP.IsLoopback() && d.o.strangers && len(d.o.webrtcAddresses) == 0:
		return []finding{f.but(problem, "Other machines reach the portal, but not this port: set --webrtc 0.0.0.0:"+usualWebRTC+".")}
	case d.o.strangers && public == 0 && (len(d.o.secure.acme) > 0 || len(d.o.trustedProxies) > 0):
		return []finding{f.but(warning, "None of them can be reached from the Internet: pass the UDP port on at the router, and name its public address with --webrtc-address.")}
	case d.o.strangers && public == 0:
		f.Text += "; that is for the local network, the Internet needs --webrtc-address"
	}
	return []finding{f}
}

// isPublic reports whether an address can be reached from the Internet.
func isPublic(a netip.Addr) bool {
	shared := netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a.Unmap())
}
