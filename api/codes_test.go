package api

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/api/internal/rest"
	"latchkey/internal/app"
)

// memoryCodes keeps codes as app.ShareCodes promises.
type memoryCodes struct {
	mu    sync.Mutex
	now   func() time.Time
	codes []*memoryCode
}

type memoryCode struct {
	app.NewShareCode
	app.ShareCode
	code, by string
}

func (m *memoryCodes) MakeShareCode(_ context.Context, n app.NewShareCode) (app.ShareCode, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	live := 0
	for _, c := range m.codes {
		if c.NewShareCode.Account != n.Account || c.Kind != n.Kind || c.by != "" {
			continue
		}
		if live++; n.Most == 1 {
			c.by = "revoked"
		}
		if n.Repeat != "" && c.Repeat == n.Repeat {
			if string(c.ShareCode.Content) != string(n.Content) {
				return app.ShareCode{}, "", app.ErrOtherCode
			}
			return c.ShareCode, c.code, nil
		}
	}
	if n.Most > 1 && live >= n.Most {
		return app.ShareCode{}, "", app.ErrTooManyCodes
	}
	id := fmt.Sprintf("id%d", len(m.codes))
	c := &memoryCode{n, app.ShareCode{ID: id, Account: n.Account, Content: n.Content, Created: m.now(), Expires: m.now().Add(n.TTL)}, "secret-" + id, ""}
	m.codes = append(m.codes, c)
	return c.ShareCode, c.code, nil
}

func (m *memoryCodes) ShareCodes(_ context.Context, account, kind string) (list []app.ShareCode, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.codes {
		if c.NewShareCode.Account == account && c.Kind == kind && c.by != "revoked" && m.now().Before(c.Expires) {
			c.Used = c.by != ""
			list = append(list, c.ShareCode)
		}
	}
	return list, nil
}

func (m *memoryCodes) ClaimShareCode(_ context.Context, kind, code, by string) (app.ShareCode, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.codes {
		if c.code == code && c.Kind == kind && (c.by == by || c.by == "" && m.now().Before(c.Expires)) {
			c.by = by
			return c.ShareCode, true, nil
		}
	}
	return app.ShareCode{}, false, nil
}

func (m *memoryCodes) ReleaseShareCode(_ context.Context, kind, code, by string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.codes {
		if c.code == code && c.by == by {
			c.by = ""
		}
	}
	return nil
}

func (m *memoryCodes) RevokeShareCode(_ context.Context, account, kind, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.codes {
		if c.ID == id && c.NewShareCode.Account == account && c.Kind == kind && c.by == "" {
			c.by = "revoked"
			return true, nil
		}
	}
	return false, nil
}

func (v *village) code(devices ...any) rest.InvitationCodeMade {
	v.t.Helper()
	var made rest.InvitationCodeMade
	v.wantStatus(v.do("POST", "/api/v1/invitation-codes", v.owner.token, map[string]any{"remark": "by code", "devices": devices}), 201).decode(v.t, &made)
	return made
}

func (v *village) redeem(p person, code string, headers ...string) answer {
	return v.do("POST", "/api/v1/invitation-codes/redeem", p.token, map[string]any{"code": code}, headers...)
}

// TestInvitationCodes: whoever redeems a code has what it offers, at once, and the owner
// sees who; it works once.
func TestInvitationCodes(t *testing.T) {
	v := newVillage(t)
	made := v.code(grant(v.device, "live_view"), grant(v.spare, "ptz"))
	if !strings.HasSuffix(made.URL, "#"+made.Code) || !made.ExpiresAt.Equal(v.clock.Now().Add(24*time.Hour)) {
		t.Fatalf("made %+v", made)
	}
	var list rest.InvitationCodeList
	a := v.wantStatus(v.do("GET", "/api/v1/invitation-codes", v.owner.token, nil), 200)
	a.decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != made.ID || list.Items[0].Used || len(list.Items[0].Devices) != 2 || list.Items[0].Remark != "by code" || strings.Contains(string(a.body), made.Code) {
		t.Errorf("listed: %s", a.body)
	}
	v.wantProblem(v.redeem(v.owner, made.Code), 422, "own_login")

	first := v.wantStatus(v.redeem(v.stranger, made.Code, "Idempotency-Key", "k"), 200)
	var got rest.Share
	first.decode(t, &got)
	if len(got.Devices) != 2 || got.Devices[0].Status != "accepted" || got.Devices[1].Status != "accepted" || got.From.Email != v.owner.email {
		t.Fatalf("redeemed: %s", first.body)
	}
	sameAnswer(t, first, v.redeem(v.stranger, made.Code, "Idempotency-Key", "k"))
	for _, s := range v.shares(v.owner, "sent") {
		if s.ID == got.ID && (s.Recipient.Email != v.stranger.email || s.Remark != "by code") {
			t.Errorf("the owner sees %+v", s)
		}
	}
	unknown := v.wantProblem(v.redeem(v.recipient, "nothing"), 404, "code_invalid")
	used := v.wantProblem(v.redeem(v.recipient, made.Code), 404, "code_invalid")
	v.wantProblem(v.do("DELETE", "/api/v1/invitation-codes/"+made.ID, v.owner.token, nil), 404, "code_not_found")

	revoked := v.code(grant(v.spare, "ptz"))
	v.wantProblem(v.do("DELETE", "/api/v1/invitation-codes/"+revoked.ID, v.recipient.token, nil), 404, "code_not_found")
	v.wantStatus(v.do("DELETE", "/api/v1/invitation-codes/"+revoked.ID, v.owner.token, nil), 204)
	ended := v.wantProblem(v.redeem(v.recipient, revoked.Code), 404, "code_invalid")
	old := v.code(grant(v.spare, "ptz"))
	v.clock.advance(24 * time.Hour)
	v.owner, v.recipient = v.again(v.owner), v.again(v.recipient)
	expired := v.wantProblem(v.redeem(v.recipient, old.Code), 404, "code_invalid")
	for _, p := range []problemDocument{used, ended, expired} {
		if p.Detail != unknown.Detail {
			t.Errorf("%q tells more than %q", p.Detail, unknown.Detail)
		}
	}

	// The recipient is invited to the device already: only the other one is added.
	more := v.code(grant(v.device, "live_view"), grant(v.spare, "ptz"))
	v.wantStatus(v.redeem(v.recipient, more.Code), 200).decode(t, &got)
	if len(got.Devices) != 2 || got.Devices[0].Status != "accepted" && got.Devices[1].Status != "accepted" {
		t.Errorf("added to a share: %+v", got.Devices)
	}
	again := v.code(grant(v.spare, "ptz"))
	v.wantProblem(v.redeem(v.recipient, again.Code), 409, "already_shared")
}

// again logs a person in once more.
func (v *village) again(p person) person {
	v.t.Helper()
	var session rest.Session
	v.wantStatus(v.do("POST", "/api/v1/sessions", "", rest.Credentials{Login: p.email, Password: password}), 201).decode(v.t, &session)
	p.token = session.Token
	return p
}

func TestInvitationCodesAreRefused(t *testing.T) {
	v := newVillage(t)
	make := func(token string, body any) answer { return v.do("POST", "/api/v1/invitation-codes", token, body) }
	v.wantProblem(make(v.recipient.token, map[string]any{"devices": []any{grant(v.device, "live_view")}}), 404, "device_not_found")
	v.wantProblem(make(v.owner.token, map[string]any{"devices": []any{}}), 422, "invalid_body")
	v.wantProblem(make(v.owner.token, map[string]any{"devices": []any{grant(v.device, "live_view")}, "expires_in": 604801}), 422, "invalid_body")
	v.wantProblem(make(v.owner.token, map[string]any{"devices": []any{grant(v.device, "live_view"), grant(v.device, "ptz")}}), 422, "device_twice")
	made := v.code(grant(v.spare, "ptz"))
	v.wantStatus(v.do("DELETE", "/api/v1/devices/"+v.spare, v.owner.token, nil), 204)
	v.wantProblem(v.redeem(v.stranger, made.Code), 404, "code_invalid")
	for range redeemBurst - 1 {
		v.wantProblem(v.redeem(v.stranger, "guess"), 404, "code_invalid")
	}
	v.wantProblem(v.redeem(v.stranger, "guess"), 429, "rate_limited")
	v.wantProblem(v.redeem(v.recipient, "guess"), 429, "rate_limited") // from the same network
	v.clock.advance(redeemEvery)
	v.wantProblem(v.redeem(v.recipient, "guess"), 404, "code_invalid")
}

// TestOwnCode: an owner shares with whoever showed a code, without knowing the address
// before; it works once, and for ten minutes.
func TestOwnCode(t *testing.T) {
	v := newVillage(t)
	own := func(p person) (made rest.OwnCode) {
		t.Helper()
		v.wantStatus(v.do("POST", "/api/v1/accounts/me/code", p.token, nil), 201).decode(t, &made)
		return made
	}
	share := func(code, key string, devices ...any) answer {
		return v.do("POST", "/api/v1/shares", v.owner.token, map[string]any{"recipient": map[string]any{"code": code}, "devices": devices}, "Idempotency-Key", key)
	}
	before, code := own(v.stranger), own(v.stranger)
	v.wantProblem(share(before.Code, "a", grant(v.spare, "ptz")), 404, "code_invalid")
	v.wantProblem(share(code.Code, "b", grant("nothing", "ptz")), 404, "device_not_found")
	first := v.wantStatus(share(code.Code, "c", grant(v.spare, "ptz")), 201)
	var got rest.Share
	first.decode(t, &got)
	if got.Recipient.Email != v.stranger.email || got.Devices[0].Status != "invited" {
		t.Errorf("shared: %s", first.body)
	}
	sameAnswer(t, first, share(code.Code, "c", grant(v.spare, "ptz")))
	p := v.wantProblem(share(code.Code, "d", grant(v.device, "ptz")), 404, "code_invalid")
	if p.Errors["/recipient/code"] == "" {
		t.Errorf("the field is not named: %+v", p)
	}
	late := own(v.stranger)
	v.clock.advance(10 * time.Minute)
	v.wantProblem(share(late.Code, "e", grant(v.device, "ptz")), 404, "code_invalid")
	mine := own(v.owner)
	v.wantProblem(share(mine.Code, "f", grant(v.device, "ptz")), 422, "own_login")
	v.wantProblem(v.redeem(v.recipient, mine.Code), 404, "code_invalid") // it is of the other kind
}

// endingSessions are sessions that end once they were looked up so often.
type endingSessions struct {
	Sessions
	left *atomic.Int64 // negative: they do not end
}

func (s endingSessions) Session(ctx context.Context, token string) (string, error) {
	if s.left.Load() == 0 {
		return "", ErrNoSession
	}
	s.left.Add(-1)
	return s.Sessions.Session(ctx, token)
}

// TestNoCodeOfAnEndedSession: a code that is made while its session ends, with a change of
// the password, opens nothing.
func TestNoCodeOfAnEndedSession(t *testing.T) {
	v := newVillage(t)
	left := &atomic.Int64{}
	left.Store(1)
	v.server.cfg.Sessions = endingSessions{v.server.cfg.Sessions, left}
	body := map[string]any{"devices": []any{grant(v.device, "live_view")}}
	v.wantProblem(v.do("POST", "/api/v1/invitation-codes", v.owner.token, body), 401, "unauthenticated")
	left.Store(-1)
	var list rest.InvitationCodeList
	v.wantStatus(v.do("GET", "/api/v1/invitation-codes", v.owner.token, nil), 200).decode(t, &list)
	if len(list.Items) != 0 {
		t.Errorf("listed: %+v", list.Items)
	}
}
