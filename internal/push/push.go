// Package push sends messages to browsers through the push services that they name
// (RFC 8030), encrypted for the browser (RFC 8291) and signed with a key of the server
// (RFC 8292). What a browser names is hostile: it is called as webhooks are.
package push

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"

	"latchkey/internal/webhook"
)

// Outcome is how a sending went.
type Outcome string

// The outcomes.
const (
	Delivered Outcome = "delivered" // the push service has it
	Gone      Outcome = "gone"      // it does not know the browser any more
	Refused   Outcome = "refused"   // it will never take it
	Failed    Outcome = "failed"    // it may take it later
)

// Browser is where a message goes.
type Browser struct {
	Endpoint string // of the push service
	P256DH   string // public key of the browser, base64url
	Auth     string // secret of the browser, base64url
}

// Config is what a Client needs.
type Config struct {
	Hooks *webhook.Client // calls push services
	// Key returns the private and the public key of the server, base64url without padding.
	Key func(ctx context.Context) (private, public string, err error)
	// Contact is where push services reach the operator: an address, or an https:// URL.
	Contact string
}

// Client sends messages. It is safe for concurrent use.
type Client struct{ cfg Config }

// New makes a client.
func New(cfg Config) *Client { return &Client{cfg} }

// record is the size of a message as it is sent, in bytes: all have the same.
const record = 512

// Check returns which field of a browser is invalid, and why; "" for none.
func (c *Client) Check(b Browser) (field, why string) {
	if why := c.cfg.Hooks.MayCall(b.Endpoint); why != "" {
		return "endpoint", why
	}
	key, err := decode(b.P256DH)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(key)
	}
	if err != nil {
		return "p256dh", "is not a public key of P-256, in base64url"
	}
	if auth, err := decode(b.Auth); err != nil || len(auth) != 16 {
		return "auth", "is not 16 bytes in base64url"
	}
	return "", ""
}

func decode(text string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
}

// PublicKey returns the key that browsers subscribe with.
func (c *Client) PublicKey(ctx context.Context) (string, error) {
	_, public, err := c.cfg.Key(ctx)
	return public, err
}

// Send sends a message that the push service keeps for at most a time. An error: it could
// not be sent for a reason of our own, or the context ended.
func (c *Client) Send(ctx context.Context, to Browser, text []byte, keep time.Duration) (Outcome, error) {
	private, public, err := c.cfg.Key(ctx)
	if err != nil {
		return "", err
	}
	way := &caller{hooks: c.cfg.Hooks}
	_, err = webpush.SendNotificationWithContext(ctx, text, &webpush.Subscription{Endpoint: to.Endpoint, Keys: webpush.Keys{P256dh: to.P256DH, Auth: to.Auth}}, &webpush.Options{ //nolint:bodyclose // it is read and closed by webhook.Client
		HTTPClient: way, RecordSize: record, Subscriber: c.cfg.Contact, TTL: max(0, int(keep.Seconds())), Urgency: webpush.UrgencyHigh,
		VAPIDPublicKey: public, VAPIDPrivateKey: private,
	})
	switch {
	case way.err != nil:
		return "", way.err
	case !way.called: // the browser's keys are useless; the error may name its address
		return Refused, nil
	case err != nil && !errors.Is(err, errFailed):
		return Failed, nil
	}
	return outcomeOf(way.status), nil
}

func outcomeOf(status int) Outcome {
	switch {
	case status >= 200 && status < 300:
		return Delivered
	case status == http.StatusNotFound, status == http.StatusGone:
		return Gone
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == 0, status >= 500:
		return Failed
	}
	return Refused
}

var errFailed = errors.New("the push service was not reached")

// caller lets the library call as webhooks are called.
type caller struct {
	hooks  *webhook.Client
	called bool
	status int // 0: no answer
	err    error
}

// Do implements webpush.HTTPClient.
func (c *caller) Do(r *http.Request) (*http.Response, error) {
	c.called = true
	r.Header.Set("User-Agent", "Latchkey")
	_, c.status, c.err = c.hooks.Do(r)
	if c.err != nil || c.status == 0 {
		return nil, errFailed
	}
	return &http.Response{StatusCode: c.status, Body: http.NoBody}, nil
}
