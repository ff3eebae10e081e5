package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxHops limits how many forwarded addresses of a request are read.
const maxHops = 32

// client returns the address of the request's sender: that of the connection or, if that
// is a trusted proxy, the rightmost forwarded address that is not. Addresses further left
// may be forged.
func client(r *http.Request, trusted []netip.Prefix) netip.Addr {
	connection, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := plain(connection.Addr())
	if !isTrusted(trusted, addr) {
		return addr
	}
	hops, ok := forwarded(r.Header)
	if !ok {
		return addr
	}
	for _, hop := range slices.Backward(hops[max(0, len(hops)-maxHops):]) {
		next, ok := parseHop(hop)
		if !ok {
			return addr // the proxy at addr does not report it
		}
		if addr = next; !isTrusted(trusted, addr) {
			return addr
		}
	}
	return addr
}

func isTrusted(trusted []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// forwarded returns the addresses that a request was forwarded for, the client's first:
// those of X-Forwarded-For, or of Forwarded (RFC 7239). If a request has both, they must
// agree: a proxy writes one of them and passes on the other as the client wrote it.
func forwarded(h http.Header) (hops []string, ok bool) {
	loose, standard := h.Values("X-Forwarded-For"), h.Values("Forwarded")
	if len(standard) > 0 {
		if hops, ok = forwardedFor(strings.Join(standard, ",")); !ok {
			return nil, false
		}
	}
	if len(loose) == 0 {
		return hops, ok
	}
	list := strings.Split(strings.Join(loose, ","), ",")
	if len(standard) > 0 && !sameHops(list, hops) {
		return nil, false
	}
	return list, true
}

func sameHops(a, b []string) bool {
	return slices.EqualFunc(a, b, func(x, y string) bool {
		p, okP := parseHop(x)
		q, okQ := parseHop(y)
		return okP && okQ && p == q
	})
}

// parseHop reads one forwarded address, with or without a port.
func parseHop(hop string) (netip.Addr, bool) {
	hop = strings.Trim(hop, " \t")
	if ap, err := netip.ParseAddrPort(hop); err == nil {
		return plain(ap.Addr()), true
	}
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		hop, ok = strings.CutSuffix(inner, "]")
		if !ok || !strings.Contains(hop, ":") {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(hop)
	return plain(a), err == nil
}

// forwardedFor returns the values of the "for" parameters, one per element. An element
// without one is "", which is not an address.
func forwardedFor(header string) (hops []string, ok bool) {
	hop, rest := "", header
	for {
		name, after, found := strings.Cut(strings.TrimLeft(rest, " \t"), "=")
		if !found || name == "" || strings.ContainsAny(name, " \t,;\"") {
			return nil, false
		}
		value, after, ok := cutValue(after)
		if !ok {
			return nil, false
		}
		if strings.EqualFold(name, "for") {
			if hop != "" {
				return nil, false
			}
			hop = value
		}
		after = strings.TrimLeft(after, " \t")
		switch {
		case after == "":
			return append(hops, hop), true
		case after[0] == ',':
			hops, hop = append(hops, hop), ""
		case after[0] != ';':
			return nil, false
		}
		rest = after[1:]
	}
}

// cutValue cuts a token or a quoted string off the start.
func cutValue(s string) (value, after string, ok bool) {
	quoted, isQuoted := strings.CutPrefix(s, `"`)
	if !isQuoted {
		end := strings.IndexAny(s, " \t,;\"")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch quoted[i] {
		case '"':
			return b.String(), quoted[i+1:], true
		case '\\':
			if i++; i == len(quoted) {
				return "", "", false
			}
		}
		b.WriteByte(quoted[i])
	}
	return "", "", false
}
