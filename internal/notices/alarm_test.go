package notices_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/internal/alarms"
	"latchkey/internal/app"
	"latchkey/internal/notices"
	"latchkey/internal/outbox"
	"latchkey/internal/push"
	"latchkey/internal/vault"
	"latchkey/internal/webhook"
	"latchkey/projections/access"
)

// grants are who may know of alarms.
type grants struct {
	mu      sync.Mutex
	refused map[string]bool
}

func (g *grants) Live(time.Time) bool            { return true }
func (g *grants) Pulse() *access.Pulse           { return nil }
func (g *grants) Key(ids.Key) (access.Key, bool) { return access.Key{}, false }
func (g *grants) Pair(a ids.Account, _ ids.Device) access.Pair {
	return grant{g, string(a)}
}

type grant struct {
	of      *grants
	account string
}

func (g grant) Check(int, privilege.Set, time.Time) access.Standing {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	if g.of.refused[g.account] {
		return access.Standing{Verdict: access.Forbidden}
	}
	return access.Standing{Verdict: access.Allowed}
}

func (g *grants) set(account string, may bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused[account] = !may
}

// street is accounts that are told of alarms by webhook and push.
type street struct {
	*house
	grants   *grants
	permits  *access.Permits
	sends    *alarms.Sends
	hooks    *notices.Hooks
	pushes   *notices.Pushes
	notifier *notices.Notifier
	settings account.Notices
	token    string // of rita's session
	url      string

	mu   sync.Mutex
	got  []string
	code int
	// wrote is called when something was written to a connection, and begins before that.
	wrote func() (done func())
}

func newStreet(t *testing.T, h *house) *street {
	t.Helper()
	s := &street{house: h, grants: &grants{refused: map[string]bool{}}, code: http.StatusOK, wrote: func() func() { return func() {} }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, r.URL.Path)
		w.WriteHeader(s.code)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	s.permits = access.NewPermits(s.grants, nil, nil)
	s.sends = alarms.NewSends(s.permits, slog.New(slog.DiscardHandler))
	s.notifier = notices.New(notices.Config{
		Told: told{s}, Vault: h.vault, Logger: slog.New(slog.DiscardHandler), Now: h.clock, Permit: s.sends.Begin,
		NotAllowed: func(err error) bool { return errors.Is(err, alarms.ErrNotAllowed) },
	})
	client := webhook.New(webhook.Config{
		Allow: func(netip.Addr) error { return nil }, Now: h.clock,
		Connected: func(c net.Conn) net.Conn { return &spied{c, s} },
	})
	s.hooks = notices.NewHooks(s.notifier, client)
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	must(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	s.pushes = notices.NewPushes(s.notifier, push.New(push.Config{Hooks: client, Contact: "https://example.com", Key: h.vault.PushKey}))
	must(t, h.vault.PutWebhook(t.Context(), vault.Webhook{Account: rita, ID: "wh1", URL: s.url + "/hook", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}))
	s.token, err = h.vault.NewSession(t.Context(), rita, vault.NewSession{TTL: 1000 * time.Hour})
	must(t, err)
	_, err = h.vault.AddPush(t.Context(), s.token, vault.Push{Account: rita, Endpoint: s.url + "/push", P256DH: encode(key.PublicKey().Bytes()), Auth: encode(make([]byte, 16))}, 4)
	must(t, err)
	return s
}

type told struct{ *street }

func (s told) Look(_ context.Context, a app.About) (app.Telling, bool, error) {
	return app.Telling{About: a, Account: a.Account, Webhook: "wh1", Settings: s.settings}, true, nil
}

func (told) Holder(context.Context, string) (string, error) { return "", nil }

type spied struct {
	net.Conn
	street *street
}

func (c *spied) Write(p []byte) (int, error) {
	done := c.street.wrote()
	n, err := c.Conn.Write(p)
	if n > 0 { // to one that was closed, nothing is
		done()
	}
	return n, err
}

// raise keeps the notices of an alarm to olga, who owns the camera, and rita.
func (s *street) raise() {
	s.t.Helper()
	list, err := s.notifier.OfAlarm(s.t.Context(), notices.Alarm{ID: uuid.NewString(), Device: "cam", Channel: 1, By: 1, Kind: "motion", At: s.clock()},
		[]notices.To{{Account: olga}, {Account: rita, Share: given}})
	must(s.t, err)
	must(s.t, s.vault.EnqueueNotices(s.t.Context(), list))
}

// send sends everything that is due.
func (s *street) send() {
	s.t.Helper()
	for _, way := range []interface {
		outbox.Store
		outbox.Sender
	}{s.hooks, s.pushes} {
		for {
			m, ok, err := way.Claim(s.t.Context(), "one", time.Minute)
			must(s.t, err)
			if !ok {
				break
			}
			if strings.Contains(m.Text, "cam") && m.Kind == notices.PushKind {
				s.t.Errorf("a push names the camera: %s", m.Text)
			}
			switch err := way.Send(s.t.Context(), m, nil); {
			case err == nil, errors.Is(err, outbox.ErrRefused):
				must(s.t, way.Finish(s.t.Context(), m.ID, "one"))
			default:
				must(s.t, way.Retry(s.t.Context(), m.ID, "one", s.clock().Add(time.Minute)))
			}
		}
	}
}

func (s *street) received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := strings.Join(s.got, " ")
	s.got = nil
	return got
}

// TestAlarmsAreToldOnEachWay: at every try only to whoever may know of them at that moment,
// wants to, and has a session.
func TestAlarmsAreToldOnEachWay(t *testing.T) {
	onEach(t, func(h *house) {
		s := newStreet(h.t, h)
		want := func(when, want string) {
			h.t.Helper()
			s.send()
			if got := s.received(); got != want {
				h.t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		s.raise()
		want("an alarm", "/hook /push")
		want("again", "")
		s.raise()
		s.grants.set(rita, false)
		want("without the privilege", "")
		s.grants.set(rita, true)
		want("and with it again", "")
		s.code = http.StatusServiceUnavailable
		s.raise()
		want("while nobody takes it", "/hook /push")
		s.grants.set(rita, false)
		s.code = http.StatusOK
		h.advance(2 * time.Minute)
		want("at the next try, without the privilege", "")
		s.grants.set(rita, true)
		s.raise()
		h.advance(2 * time.Hour)
		want("after too long", "")
		s.settings.Push.Off = true
		s.raise()
		want("without push", "/hook")
		s.settings = account.Notices{Webhook: account.NoticeChannel{Mute: []account.NoticeKind{account.NoticeAlarms}}}
		s.raise()
		want("without alarms by webhook", "/push")
		s.settings = account.Notices{Devices: []string{"cam"}}
		s.raise()
		want("of a device that is muted", "")
		s.settings = account.Notices{Shares: []string{given}}
		s.raise()
		want("of a share that is muted", "")
		s.settings = account.Notices{}
		s.code = http.StatusGone
		s.raise()
		want("they want no more", "/hook /push")
		s.code = http.StatusOK
		s.raise()
		want("after that", "")
		_, err := h.vault.AddPush(h.t.Context(), s.token, vault.Push{Account: rita, Endpoint: s.url + "/other", P256DH: "x", Auth: "y"}, 4)
		must(h.t, err)
		s.raise()
		must(h.t, h.vault.EndSession(h.t.Context(), s.token))
		want("after the session ended", "")
	})
}

// TestWhatAWebhookIsToldOfAnAlarm: ids, the channel and the kind.
func TestWhatAWebhookIsToldOfAnAlarm(t *testing.T) {
	onEach(t, func(h *house) {
		s := newStreet(h.t, h)
		s.raise()
		m, ok, err := s.hooks.Claim(h.t.Context(), "one", time.Minute)
		must(h.t, err)
		var body struct {
			Type string
			Data map[string]any
		}
		if err := json.Unmarshal([]byte(m.Text), &body); err != nil || !ok || body.Type != "alarm" ||
			fmt.Sprint(body.Data["as"], body.Data["device"], body.Data["channel"], body.Data["kind"], body.Data["share"]) != "recipientcam1motion"+given || len(body.Data) != 6 {
			h.t.Errorf("%s, %v", m.Text, err)
		}
	})
}

// TestNoWayTellsAfterTheAnswer: an alarm is sent by webhook, and to a browser, while the
// privilege is being revoked, 1,000 times each: nothing is written to a connection after
// the command has answered.
func TestNoWayTellsAfterTheAnswer(t *testing.T) {
	const rounds = 1000
	h := newHouse(t, databases["sqlite"](t)) // it takes no part
	s := newStreet(t, h)
	browsers, err := h.vault.PushesOf(t.Context(), []string{rita})
	must(t, err)
	about, err := json.Marshal(app.About{Cause: uuid.New(), Side: app.RecipientSide, Tiding: app.TidingAlarm, Device: "cam", Account: rita, At: h.clock(), Channel: 1, By: 1, Alarm: "motion"})
	must(t, err)
	message := outbox.Message{ID: "n", Account: rita, Until: h.clock().Add(time.Hour), Text: "{}", About: string(about)}
	for name, way := range map[string]struct {
		outbox.Sender
		to string
	}{"webhook": {s.hooks, "wh1"}, "push": {s.pushes, browsers[rita][0]}} {
		var answered atomic.Bool
		var leaked, wrote atomic.Int64
		s.wrote = func() func() {
			late := answered.Load()
			return func() {
				if wrote.Add(1); late {
					leaked.Add(1)
				}
			}
		}
		m := message
		m.To = way.to
		delivered := 0
		for i := range rounds {
			s.grants.set(rita, true)
			answered.Store(false)
			done := make(chan error)
			go func() { done <- way.Send(t.Context(), m, nil) }()
			wait := time.Duration(i%100) * 8 * time.Microsecond // any moment of the sending
			if i%20 == 19 {
				wait = 10 * time.Millisecond // surely after it, on a slow machine too
			}
			time.Sleep(wait)
			s.grants.set(rita, false)
			s.permits.Changed(access.Change{Account: ids.Account(rita), Device: "cam"})
			must(t, s.sends.AwaitCuts(t.Context()))
			answered.Store(true)
			if err := <-done; err == nil {
				delivered++
			}
		}
		t.Logf("%s: %d of %d were delivered before the answer, %d writes", name, delivered, rounds, wrote.Load())
		if n := leaked.Load(); n > 0 {
			t.Errorf("%s: %d writes after the answer", name, n)
		}
		if wrote.Load() == 0 || delivered == rounds {
			t.Errorf("%s: %d writes, %d of %d delivered: the two do not meet", name, wrote.Load(), delivered, rounds)
		}
	}
}
