package rtspclient

import (
	"context"
	"net"
	"net/url"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
)

// BackChannel is the value of the Require header that enables the back channel, in
// DESCRIBE, SETUP and PLAY (ONVIF Streaming Specification, 5.3).
const BackChannel = "www.onvif.org/ver20/backchannel"

// Description is what a camera says of a stream.
type Description struct {
	Tracks []*Track // at least one, in the camera's order
	Range  string   // a=range of the session, "" if there is none

	control string // of the session
}

// Track is one media of a stream.
type Track struct {
	// Media is its kind and formats, at least one, and whether it is a back channel. It
	// has no control URL and must not be changed.
	Media *description.Media

	control, direction string
	urls               []string // where it may be set up, the likeliest first
	url                string   // where it was

	channels [2]int // interleaved ones, for RTP and RTCP
	udp      *sockets
	receipt  receipt
}

// Options sends OPTIONS. Whatever the camera responds, it speaks RTSP.
func (c *Client) Options(ctx context.Context) (*base.Response, error) {
	return c.do(ctx, base.Options, c.at.String(), nil)
}

// Describe requests the description of the stream, with the header in addition, such as
// Require: BackChannel. It follows redirects.
func (c *Client) Describe(ctx context.Context, header base.Header) (*Description, error) {
	return c.describe(ctx, nil, header)
}

// DescribeAt is Describe for another stream of the server that was dialed, over the same
// connection unless a redirect has led elsewhere.
func (c *Client) DescribeAt(ctx context.Context, address string, header base.Header) (*Description, error) {
	at, err := parseAddress(address)
	if err != nil || !at.isSameServer(c.home) {
		return nil, ErrAddress
	}
	return c.describe(ctx, &at, header)
}

// describe describes the stream at an address; nil: where the client is.
func (c *Client) describe(ctx context.Context, at *address, header base.Header) (*Description, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.ended:
		return nil, c.err
	}
	defer func() { <-c.turn }()
	if at != nil {
		if err := c.move(ctx, *at); err != nil {
			return nil, err
		}
	}
	header = with(header, "Accept", "application/sdp")
	for redirects := 0; ; redirects++ {
		res, err := c.exchange(ctx, base.Describe, c.at.String(), header)
		if res != nil && isRedirect(res.StatusCode) {
			if redirects >= c.opts.Redirects {
				return nil, ErrRedirect
			}
			if err := c.follow(ctx, first(res.Header["Location"])); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		d, err := ParseSDP(res.Body)
		if err != nil {
			return nil, err
		}
		c.resolve(d, res.Header)
		return d, nil
	}
}

func with(header base.Header, name, value string) base.Header {
	all := base.Header{name: {value}}
	for n, v := range header {
		all[n] = v
	}
	return all
}

func isRedirect(code base.StatusCode) bool {
	switch code {
	case 301, 302, 303, 307, 308:
		return true
	default:
		return false
	}
}

// follow connects to where a camera redirects to. The dial function decides whether that
// is allowed. The protection never becomes less.
func (c *Client) follow(ctx context.Context, location string) error {
	to := c.at
	switch {
	case strings.HasPrefix(location, "/"):
		to.rest = location
	default:
		a, err := parseAddress(location)
		if err != nil || c.at.secure && !a.secure {
			return ErrRedirect
		}
		to = a
	}
	return c.move(ctx, to)
}

// move goes to an address, over another connection if it is of another server. Credentials
// in the address are ignored.
func (c *Client) move(ctx context.Context, to address) error {
	elsewhere := !to.isSameServer(c.at)
	c.at = to
	c.describedAt, c.aggregate = to.String(), to.String()
	if !elsewhere {
		return nil
	}
	c.signer, c.good, c.accepted, c.public = nil, false, nil, nil
	c.link.Close()
	<-c.link.over
	return c.connect(ctx)
}

// resolve finds the addresses of the stream and its tracks (RFC 2326, C.1.1). Those that
// the camera gives are only sent back to it over the same connection, whatever host they
// name.
func (c *Client) resolve(d *Description, header base.Header) {
	c.describedAt = c.at.String()
	for _, name := range []string{"Content-Base", "Content-Location"} {
		v := once(strings.Trim(first(header[name]), ` "<>`))
		switch {
		case isAddress(v):
			if a, err := parseAddress(v); err == nil && sane(a.host) {
				c.describedAt = a.String()
			}
		case strings.HasPrefix(v, "/") && len(v) > 1:
			at := c.at
			at.rest = v
			if a, err := parseAddress(at.String()); err == nil {
				c.describedAt = a.String()
			}
		default:
			continue
		}
		break
	}
	c.aggregate = c.describedAt
	if isAddress(d.control) {
		if a, err := parseAddress(d.control); err == nil {
			c.aggregate = a.String()
		}
	} else if d.control != "" && d.control != "*" {
		c.aggregate = joined(c.describedAt, d.control)
	}
	for _, t := range d.Tracks {
		t.urls = c.candidates(t.control)
	}
}

// once returns an address with one scheme: some cameras write two.
func once(address string) string {
	for strings.HasPrefix(address, "rtsp://rtsp://") {
		address = strings.TrimPrefix(address, "rtsp://")
	}
	return address
}

// sane reports whether a host can be written in an address: some cameras give IPv6
// addresses without brackets, or none.
func sane(host string) bool {
	_, err := url.Parse("rtsp://" + host + "/")
	if err != nil || host == "" || strings.HasPrefix(host, ":") {
		return false
	}
	name, _, err := net.SplitHostPort(host)
	return err != nil || name != "" && name != "0.0.0.0"
}

// candidates are the addresses where a track may be set up: as players understand its
// control attribute, then as the standard does.
func (c *Client) candidates(control string) []string {
	var list []string
	add := func(uri string) {
		for _, other := range list {
			if other == uri {
				return
			}
		}
		list = append(list, uri)
	}
	control = once(control)
	switch {
	case isAddress(control):
		if a, err := parseAddress(control); err == nil {
			add(a.String())
		}
	case control == "" || control == "*":
		add(c.aggregate)
		add(c.describedAt)
	default:
		add(joined(c.describedAt, control))
		if c.aggregate != c.describedAt {
			add(joined(c.aggregate, control))
		}
		if u, err := url.Parse(c.describedAt); err == nil {
			if ref, err := u.Parse(control); err == nil && isAddress(ref.String()) {
				add(ref.String())
			}
		}
		add(joined(c.at.String(), control))
	}
	if len(list) == 0 {
		add(c.describedAt)
	}
	return list
}

// joined appends a control attribute to an address, after its query if it has one.
func joined(base, control string) string {
	control = strings.ReplaceAll(control, " ", "%20")
	switch {
	case strings.HasPrefix(control, "?"):
	case strings.HasPrefix(control, "/"):
		base = strings.TrimSuffix(base, "/")
	case !strings.HasSuffix(base, "/"):
		base += "/"
	}
	return base + control
}

// Is reports whether a URL, as in RTP-Info, is that of the track: the same one, or with
// the same end.
func (t *Track) Is(uri string) bool {
	return t.url != "" && uri != "" && (uri == t.url || uri == t.control || lastPart(uri) == lastPart(t.url))
}

func lastPart(uri string) string { return uri[strings.LastIndexByte(uri, '/')+1:] }
