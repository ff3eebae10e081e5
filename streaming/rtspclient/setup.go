package rtspclient

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// maxSetUp is how many tracks of a stream can be set up.
const maxSetUp = 8

// Setup sets up a track of the last description, over TCP, or over UDP if the camera
// refuses TCP or Options.UDP is set. The header is sent in addition, such as Require: BackChannel.
func (c *Client) Setup(ctx context.Context, t *Track, header base.Header) error {
	if len(t.urls) == 0 || t.url != "" || len(c.setUp()) == maxSetUp {
		return errors.New("setting up a track that cannot be")
	}
	overUDP := c.opts.UDP && !c.at.secure || slices.ContainsFunc(c.setUp(), func(other *Track) bool { return other.udp != nil })
	if overUDP {
		return c.setupUDP(ctx, t, header)
	}
	err := c.setupTCP(ctx, t, header)
	if err == nil || !refusesTransport(err) || c.at.secure { // UDP would be in clear
		return err
	}
	if other := c.setupUDP(ctx, t, header); other == nil || !refusesTransport(other) {
		return other
	}
	return err
}

// setUp returns the tracks that are set up. The slice must not be changed.
func (c *Client) setUp() []*Track {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tracks
}

// refusesTransport reports whether another transport may do. Cameras use other statuses
// than 461, too.
func refusesTransport(err error) bool {
	var status *StatusError
	switch {
	case errors.Is(err, ErrTransport):
		return true
	case !errors.As(err, &status):
		return false
	}
	switch status.Code {
	case base.StatusUnauthorized, base.StatusForbidden:
		return false
	default:
		return true
	}
}

// setupTCP sets a track up interleaved with the messages.
func (c *Client) setupTCP(ctx context.Context, t *Track, header base.Header) error {
	channel := c.freeChannel()
	t.channels = [2]int{channel, channel + 1}
	c.add(t) // its packets may come before the response
	res, err := c.setup(ctx, t, header, fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d", channel, channel+1))
	if err != nil {
		c.remove(t)
		return err
	}
	as := parseTransport(first(res.Header["Transport"]))
	if as.named && !as.tcp && len(as.channels) == 0 {
		c.remove(t)
		c.session = "" // it has set up something else
		return ErrTransport
	}
	if len(as.channels) > 0 {
		c.mu.Lock()
		t.channels[0], t.channels[1] = as.channels[0], as.channels[0]+1
		if len(as.channels) > 1 {
			t.channels[1] = as.channels[1]
		}
		c.noteChannels()
		c.mu.Unlock()
	}
	return nil
}

// freeChannel returns the next even channel that no track uses.
func (c *Client) freeChannel() int {
	channel := 0
	for _, t := range c.setUp() {
		channel = max(channel, (max(t.channels[0], t.channels[1])+2)&^1)
	}
	return min(channel, 254)
}

// setupUDP sets a track up over a pair of UDP ports.
func (c *Client) setupUDP(ctx context.Context, t *Track, header base.Header) error {
	s, err := c.openUDP(t)
	if err != nil {
		return err
	}
	t.channels, t.udp = [2]int{-1, -1}, s
	c.add(t)
	res, err := c.setup(ctx, t, header, fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d", s.port, s.port+1))
	if err == nil {
		as := parseTransport(first(res.Header["Transport"]))
		if as.named && as.tcp {
			err = ErrTransport
		}
		s.setPeer(c.link.peer, as)
	}
	if err != nil {
		c.remove(t)
		s.close()
		return err
	}
	s.punch()
	return nil
}

// setup sends SETUP to the first of the track's addresses that the camera knows.
func (c *Client) setup(ctx context.Context, t *Track, header base.Header, transport string) (*base.Response, error) {
	var reason error
	for _, uri := range t.urls {
		res, err := c.do(ctx, base.Setup, uri, with(header, "Transport", transport))
		if err == nil {
			t.url = uri
			c.noteSession(res)
			c.mu.Lock()
			c.bound = true
			c.mu.Unlock()
			return res, nil
		}
		if reason == nil {
			reason = err
		}
		var status *StatusError
		if !errors.As(err, &status) {
			return nil, err
		}
		switch status.Code {
		case base.StatusNotFound, base.StatusBadRequest, base.StatusParameterNotUnderstood, base.StatusSessionNotFound, base.StatusAggregateOperationNotAllowed:
		default:
			return nil, reason
		}
	}
	return nil, reason
}

func (c *Client) noteSession(res *base.Response) {
	id, timeout := parseSession(first(res.Header["Session"]))
	if c.session == "" { // some cameras invent another for each track, and mean the first
		c.session = id
	}
	if timeout > 0 {
		c.timeout = timeout
	}
}

// add makes a track known to the reader; remove forgets it. The slice is never changed in
// place.
func (c *Client) add(t *Track) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tracks = append(slices.Clone(c.tracks), t)
	c.noteChannels()
}

func (c *Client) remove(t *Track) {
	t.url = ""
	c.mu.Lock()
	defer c.mu.Unlock()
	t.udp = nil
	c.tracks = slices.DeleteFunc(slices.Clone(c.tracks), func(other *Track) bool { return other == t })
	c.noteChannels()
}
