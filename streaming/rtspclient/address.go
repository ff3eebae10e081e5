package rtspclient

import (
	"net"
	"net/url"
	"strings"
)

// address is an RTSP URL, taken apart without changing it: cameras compare what they are
// sent byte by byte, and their addresses are not always valid URLs.
type address struct {
	secure bool
	host   string // as written, with the port if it has one
	rest   string // path and query as written, "" or beginning with a slash or "?"

	user, password string
}

const maxAddress = 4096

// parseAddress reads an RTSP address.
func parseAddress(text string) (address, error) {
	var a address
	text = strings.TrimSpace(text)
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case !ok || len(text) > maxAddress || hasControl(text):
		return a, ErrAddress
	case strings.EqualFold(scheme, "rtsp"):
	case strings.EqualFold(scheme, "rtsps"):
		a.secure = true
	default:
		return a, ErrAddress
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	// A password may contain a slash or a question mark, as players accept it.
	if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
		a.credentials(rest[:at])
		a.host, a.rest = rest[at+1:end], rest[end:]
	} else if at := strings.IndexByte(rest, '@'); at > 0 && strings.Contains(rest[:end], ":") && rest[0] != '[' && !isPort(rest[:end]) {
		a.credentials(rest[:at])
		after := rest[at+1:]
		if end = strings.IndexAny(after, "/?"); end < 0 {
			end = len(after)
		}
		a.host, a.rest = after[:end], after[end:]
	} else {
		a.host, a.rest = rest[:end], rest[end:]
	}
	a.rest, _, _ = strings.Cut(a.rest, "#")
	if name, _ := a.split(); name == "" {
		return address{}, ErrAddress
	}
	a.rest = strings.ReplaceAll(a.rest, " ", "%20")
	return a, nil
}

// isPort reports whether text is a host and a port.
func isPort(text string) bool {
	_, port, ok := strings.Cut(text, ":")
	return ok && port != "" && strings.Trim(port, "0123456789") == ""
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func (a *address) credentials(text string) {
	name, password, _ := strings.Cut(text, ":")
	a.user, a.password = unescaped(name), unescaped(password)
}

func unescaped(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// split returns the name or IP address and the port.
func (a address) split() (name, port string) {
	name, port, err := net.SplitHostPort(a.host)
	if err != nil || port == "" {
		name, port = strings.Trim(strings.TrimSuffix(a.host, ":"), "[]"), "554"
		if a.secure {
			port = "322"
		}
	}
	return strings.ToLower(name), port
}

// dialed is what to connect to.
func (a address) dialed() string { return net.JoinHostPort(a.split()) }

// isSameServer reports whether both are reached over the same connection.
func (a address) isSameServer(b address) bool {
	return a.dialed() == b.dialed() && a.secure == b.secure
}

// String returns the address without credentials, as it is sent to the camera.
func (a address) String() string {
	if a.secure {
		return "rtsps://" + a.host + a.rest
	}
	return "rtsp://" + a.host + a.rest
}

// HostPort returns the host and port of an RTSP address, "" if it is not one.
func HostPort(text string) string {
	a, err := parseAddress(text)
	if err != nil {
		return ""
	}
	return a.dialed()
}

// Plain returns an RTSP address without credentials, and whether it is of rtsps.
func Plain(text string) (address string, secure bool, err error) {
	a, err := parseAddress(text)
	if err != nil {
		return "", false, err
	}
	return a.String(), a.secure, nil
}

// isAddress reports whether text is an absolute RTSP address.
func isAddress(text string) bool {
	scheme, _, ok := strings.Cut(text, "://")
	return ok && (strings.EqualFold(scheme, "rtsp") || strings.EqualFold(scheme, "rtsps"))
}
