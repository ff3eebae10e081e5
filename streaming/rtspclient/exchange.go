package rtspclient

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// do sends a request and returns the response to it, with credentials if the camera
// requests them. A response with an error status is a *StatusError, next to the response.
func (c *Client) do(ctx context.Context, method base.Method, uri string, header base.Header) (*base.Response, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.ended:
		return nil, c.err
	}
	defer func() { <-c.turn }()
	return c.exchange(ctx, method, uri, header)
}

// exchange is do for a caller that holds the turn.
func (c *Client) exchange(ctx context.Context, method base.Method, uri string, header base.Header) (*base.Response, error) {
	if len(uri) > maxAddress {
		return nil, ErrAddress
	}
	closed := false
	for signed := 0; ; signed++ {
		res, err := c.roundTrip(ctx, method, uri, header)
		if errors.Is(err, ErrEnded) && signed == 1 && !closed && !c.bound {
			// It has closed the connection after its 401. Whether it has seen the
			// credentials is unknown.
			closed = true
			if err := c.mayTry(ctx); err != nil {
				return nil, err
			}
			if err := c.connect(ctx); err != nil {
				return nil, err
			}
			res, err = c.roundTrip(ctx, method, uri, header)
		}
		if err != nil {
			return nil, err
		}
		if res.StatusCode != base.StatusUnauthorized {
			return res, c.judge(res)
		}
		if err := c.challenged(ctx, res, signed, closed); err != nil {
			return res, errors.Join(err, &StatusError{res.StatusCode})
		}
	}
}

// judge returns the error of a response that requests no credentials.
func (c *Client) judge(res *base.Response) error {
	if c.signer != nil && res.StatusCode != base.StatusForbidden {
		c.good = true
		if c.accepted != nil {
			c.accepted()
			c.accepted = nil
		}
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		if list, ok := res.Header["Public"]; ok {
			c.public = map[string]bool{}
			for _, name := range strings.FieldsFunc(strings.ToUpper(strings.Join(list, ",")), func(r rune) bool { return r == ',' || r == ' ' }) {
				c.public[name] = true
			}
		}
		return nil
	}
	return &StatusError{res.StatusCode}
}

// maxSigned is how often one request is signed again: a nonce may run out twice.
const maxSigned = 2

// challenged handles a 401 to a request that was signed again some times: it prepares the
// signer for another try, if one is due. Credentials that were refused are sent again only
// if the camera refuses the nonce and not them: it says so, it had accepted them before, or
// the nonce was of a connection that it has closed.
func (c *Client) challenged(ctx context.Context, res *base.Response, signed int, closed bool) error {
	if !c.atHome() {
		return ErrRedirect
	}
	if c.user == "" && c.password == "" {
		return ErrNoCredentials
	}
	best := StrongestChallenge(res.Header["WWW-Authenticate"])
	if best == nil && c.signer == nil {
		return ErrScheme
	}
	if c.signer != nil {
		fresh := best != nil && !best.Basic && best.Nonce != c.signer.Nonce
		if !fresh || signed >= maxSigned || !best.Stale && !closed && (!c.good || signed > 0) {
			if c.good && c.opts.Refused != nil {
				c.opts.Refused(c.link.peer)
			}
			return ErrWrongPassword
		}
	}
	if err := c.mayTry(ctx); err != nil {
		return err
	}
	c.signer = NewSigner(*best, c.user, c.password)
	return nil
}

// mayTry asks before credentials are sent that may count as a wrong guess.
func (c *Client) mayTry(ctx context.Context) error {
	if c.opts.MayTry == nil {
		return nil
	}
	accepted, err := c.opts.MayTry(ctx, c.link.peer)
	if err != nil {
		return err
	}
	c.accepted = accepted
	return nil
}

// atHome reports whether the credentials belong to where the client is connected: the host
// of its address, by name, and at least as protected.
func (c *Client) atHome() bool {
	home, _ := c.home.split()
	at, _ := c.at.split()
	return home == at && (c.at.secure || !c.home.secure)
}

// roundTrip sends a request once and reads its response. A connection that the camera has
// closed after a response is opened again if no stream was set up.
func (c *Client) roundTrip(ctx context.Context, method base.Method, uri string, header base.Header) (*base.Response, error) {
	again := !c.bound && c.cseq > 0
	if again && c.link.isOver() {
		if err := c.connect(ctx); err != nil {
			return nil, err
		}
		again = false
	}
	res, err := c.send(ctx, method, uri, header)
	// Credentials that may have been seen are not sent again: they would count twice.
	if errors.Is(err, ErrEnded) && again && c.signer == nil {
		if err := c.connect(ctx); err != nil {
			return nil, err
		}
		res, err = c.send(ctx, method, uri, header)
	}
	return res, err
}

func (l *link) isOver() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// send writes a request and waits for its response.
func (c *Client) send(ctx context.Context, method base.Method, uri string, header base.Header) (*base.Response, error) {
	l := c.link
	c.cseq++
	cseq := c.cseq
	for len(l.responses) > 0 { // to an earlier request that was given up
		<-l.responses
	}
	if err := l.write(c.text(method, uri, cseq, header, nil), c.opts.WriteTimeout); err != nil {
		return nil, c.failed(ctx, l, err)
	}
	timeout := time.NewTimer(c.opts.ResponseTimeout)
	defer timeout.Stop()
	for {
		select {
		case res := <-l.responses:
			if l.unanswered > 0 && isOlder(res, cseq) {
				continue
			}
			return res, c.seen(l, res)
		case <-l.over:
			select { // it may have come with the end
			case res := <-l.responses:
				return res, c.seen(l, res)
			default:
			}
			return nil, l.err
		case <-timeout.C:
			l.unanswered++
			return nil, ErrMute
		case <-ctx.Done():
			l.unanswered++
			return nil, ctx.Err()
		case <-c.ended:
			return nil, c.err
		}
	}
}

// failed returns why a request could not be written: what was read last explains it
// better.
func (c *Client) failed(ctx context.Context, l *link, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if l.isOver() {
		return l.err
	}
	return err
}

// isOlder reports whether a response belongs to an earlier request. It matters only after
// one without a response: some cameras number all of theirs alike.
func isOlder(res *base.Response, cseq int) bool {
	n, err := strconv.Atoi(strings.TrimSpace(first(res.Header["CSeq"])))
	return err == nil && n < cseq
}

// seen checks the header of each response, and closes the connection if it says so.
func (c *Client) seen(l *link, res *base.Response) error {
	if c.opts.Check != nil {
		if err := c.opts.Check(res.Header); err != nil {
			l.Close()
			return err
		}
	}
	for _, v := range res.Header["Connection"] {
		if strings.EqualFold(strings.TrimSpace(v), "close") && !c.bound {
			l.Close()
			<-l.over
		}
	}
	return nil
}
