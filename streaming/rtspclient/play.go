package rtspclient

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// Play plays what was set up, from where the header's Range says; without a Range, from
// the beginning or live ("npt=0.000-"). Scale, Rate-Control and Require go into the
// header. Another PLAY while playing seeks, if the camera can. The response may hold
// RTP-Info, Range and Scale.
func (c *Client) Play(ctx context.Context, header base.Header) (*base.Response, error) {
	if len(c.setUp()) == 0 {
		return nil, errors.New("playing nothing")
	}
	ranged := header
	if _, ok := header["Range"]; !ok {
		ranged = with(header, "Range", "npt=0.000-")
	}
	res, err := c.whole(ctx, base.Play, ranged)
	var status *StatusError
	if errors.As(err, &status) && len(ranged) > len(header) && refusesRange(status.Code) {
		res, err = c.whole(ctx, base.Play, header)
	}
	if err != nil {
		return res, err
	}
	c.pause(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.playing && !c.isOver() {
		c.playing = true
		c.work.Go(c.keepAlive)
		c.work.Go(c.reportReceipt)
	}
	return res, nil
}

// refusesRange reports whether PLAY may do without a range.
func refusesRange(code base.StatusCode) bool {
	switch code {
	case base.StatusBadRequest, base.StatusParameterNotUnderstood, base.StatusHeaderFieldNotValidForResource, base.StatusInvalidRange, base.StatusNotImplemented:
		return true
	default:
		return false
	}
}

// Pause pauses what plays. Until it plays again, only requests are sent to the camera.
func (c *Client) Pause(ctx context.Context, header base.Header) (*base.Response, error) {
	c.pause(true)
	res, err := c.whole(ctx, base.Pause, header)
	if err != nil {
		c.pause(false)
	}
	return res, err
}

// whole sends a request for the whole stream, or for each of its tracks if the camera
// wants that.
func (c *Client) whole(ctx context.Context, method base.Method, header base.Header) (*base.Response, error) {
	res, err := c.do(ctx, method, c.aggregate, header)
	if err == nil || !wantsTracks(err) {
		return res, err
	}
	for i, t := range c.setUp() {
		one, oneErr := c.do(ctx, method, t.url, header)
		if oneErr != nil && i == 0 {
			return res, err // the first refusal says more
		}
		if oneErr != nil {
			return one, oneErr
		}
		if i > 0 {
			one = merged(res, one)
		}
		res = one
	}
	return res, nil
}

// merged adds to a response what those of other tracks said of what is played.
func merged(before, res *base.Response) *base.Response {
	for _, name := range []string{"Range", "Scale", "Speed", "RTP-Info"} {
		if values := slices.Concat(before.Header[name], res.Header[name]); len(values) > 0 {
			res.Header[name] = values
		}
	}
	return res
}

// wantsTracks reports whether the address of the whole stream is refused.
func wantsTracks(err error) bool {
	var status *StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Code {
	case base.StatusAggregateOperationNotAllowed, base.StatusNotFound, base.StatusBadRequest, base.StatusMethodNotAllowed:
		return true
	default:
		return false
	}
}

// keepAliveWithin is how long a camera may take to respond to a keepalive: other requests
// wait meanwhile.
const keepAliveWithin = 5 * time.Second

// keepAlive sends the requests that keep the session alive, until the client ends. Whether
// they are refused does not matter: while packets come, the session lives.
func (c *Client) keepAlive() {
	for first := true; ; first = false {
		select {
		case c.turn <- struct{}{}:
		case <-c.ended:
			return
		}
		wait := keepAliveAfter(c.timeout, first)
		<-c.turn
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.ended:
			timer.Stop()
			return
		}
		c.ping()
	}
}

// keepAliveAfter returns how long to wait before the next keepalive of a session that lives
// as long as timeout without one. The first is soon, to learn what the camera can.
func keepAliveAfter(timeout time.Duration, first bool) time.Duration {
	if first {
		return min(timeout/2, time.Second)
	}
	return timeout / 2
}

// ping sends one keepalive: OPTIONS while it is unknown what the camera can, then
// GET_PARAMETER, else SET_PARAMETER, else OPTIONS. What is refused is not sent again.
func (c *Client) ping() {
	ctx, cancel := context.WithTimeout(c.ctx, keepAliveWithin)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-c.turn }()
	method := base.Options
	for _, m := range []base.Method{base.GetParameter, base.SetParameter} {
		if c.public[string(m)] {
			method = m
			break
		}
	}
	res, err := c.exchange(ctx, method, c.aggregate, nil)
	if errors.Is(err, ErrWrongPassword) { // sent each time, the credentials would lock the camera
		c.signer, c.user, c.password = nil, "", ""
	}
	switch {
	case method == base.Options && err == nil:
		if c.public == nil {
			c.public = map[string]bool{}
		}
	case method == base.Options && c.public == nil: // it refuses even this: try the others
		c.public = map[string]bool{string(base.GetParameter): true, string(base.SetParameter): true}
	case err != nil:
		delete(c.public, string(method))
	}
	if err == nil {
		if _, timeout := parseSession(first(res.Header["Session"])); timeout > 0 {
			c.timeout = timeout
		}
	}
}
