// Package texthook sends text messages through a hook of the operator's: an HTTP server
// that knows how.
//
// The hook gets POST with the JSON {"id", "to", "text"}: to is a number in E.164, such as
// +491701234567. The header Latchkey-Signature is "t=<Unix seconds>,v1=<hex>", where hex is
// the HMAC-SHA256, under the secret that both sides know, of the seconds, a dot and the
// body. A hook that has taken a message answers 2xx. 400, 404, 410, 413 and 422 mean that it
// never will; anything else is tried again with the same id, by which the hook can tell
// that it had the message before.
package texthook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"latchkey/internal/outbox"
)

// SignatureHeader is the header that proves who asks.
const SignatureHeader = "Latchkey-Signature"

// Hook is a hook for text messages.
type Hook struct {
	url    string
	secret []byte
	client *http.Client
	now    func() time.Time
}

// minSecret is how long a secret is at least, in bytes.
const minSecret = 16

// New makes a hook of an address and a secret.
func New(address, secret string) (*Hook, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Fragment != "" {
		return nil, errors.New("want http:// or https:// and a host")
	}
	if len(secret) < minSecret {
		return nil, fmt.Errorf("its secret must have at least %d bytes", minSecret)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Hook{url: address, secret: []byte(secret), client: client, now: time.Now}, nil
}

// body is what the hook gets.
type body struct {
	ID   string `json:"id"`
	To   string `json:"to"`
	Text string `json:"text"`
}

// refusals are the codes of a hook that will never take the message.
var refusals = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}

// Send gives a message to the hook. A try whose answer did not come is made again: the
// hook knows the id.
func (h *Hook) Send(ctx context.Context, m outbox.Message, _ func() error) error {
	raw, err := json.Marshal(body{m.ID, m.To, m.Text})
	if err != nil {
		return fmt.Errorf("%w: %w", outbox.ErrRefused, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("asking the hook: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(SignatureHeader, Sign(h.secret, h.now(), raw))
	answer, err := h.client.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the address may hold a password
		}
		return fmt.Errorf("asking the hook: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	switch {
	case answer.StatusCode >= 200 && answer.StatusCode < 300:
		return nil
	case slices.Contains(refusals, answer.StatusCode):
		return fmt.Errorf("%w: the hook answered %d", outbox.ErrRefused, answer.StatusCode)
	}
	return fmt.Errorf("the hook answered %d", answer.StatusCode)
}

// Sign makes the signature of a body.
func Sign(secret []byte, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
