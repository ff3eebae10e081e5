package rtspclient

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// transport is what a camera says of how it sends a track. Whatever it leaves out, or
// writes in a way that cannot be read, is as requested.
type transport struct {
	named    bool // it says which
	tcp      bool
	channels []int // the interleaved channels: one, two, or none
	server   []int // its ports
	source   netip.Addr
}

// parseTransport reads a Transport header, of several the first. No name is looked up.
func parseTransport(v string) transport {
	var t transport
	v, _, _ = strings.Cut(v, ",")
	for i, part := range strings.Split(v, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`)
		switch {
		case i == 0 && strings.HasPrefix(name, "rtp/"):
			t.named, t.tcp = true, strings.Contains(name, "tcp")
		case name == "interleaved":
			t.channels = numbers(value, 255)
		case name == "server_port":
			t.server = numbers(value, 65535)
		case name == "source":
			if addr, err := netip.ParseAddr(strings.Trim(value, "[]")); err == nil {
				t.source = addr.Unmap().WithZone("")
			}
		}
	}
	return t
}

// numbers reads one number, or two with a hyphen between them.
func numbers(v string, most int) []int {
	var list []int
	for _, text := range strings.SplitN(v, "-", 2) {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 || n > most {
			break
		}
		list = append(list, n)
	}
	return list
}

const (
	defaultTimeout = 60 * time.Second // of a session (RFC 2326, 12.37)
	// What a camera may say.
	minTimeout, maxTimeout = time.Second, 120 * time.Second
	maxSession             = 512
)

// parseSession reads a Session header: the id, and how long the session lives without a
// request, 0 if the camera does not say.
func parseSession(v string) (id string, timeout time.Duration) {
	id, rest, _ := strings.Cut(v, ";")
	id = strings.TrimSpace(id)
	if len(id) > maxSession || hasControl(id) {
		id = ""
	}
	for _, part := range strings.Split(rest, ";") {
		name, value, _ := strings.Cut(part, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "timeout") {
			continue
		}
		value = strings.Trim(value, ` "`)
		end := strings.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' })
		if end >= 0 {
			value = value[:end]
		}
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil || n == 0 {
			continue
		}
		timeout = min(max(time.Duration(n)*time.Second, minTimeout), maxTimeout)
	}
	return id, timeout
}
