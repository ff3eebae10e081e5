package api

import (
	"testing"

	"latchkey/api/internal/rest"
)

// TestPortalInvite: whoever has a code redeems it, after a log-in if needed, and the code
// is in no address.
func TestPortalInvite(t *testing.T) {
	v := portalVillage(t)
	var made rest.InvitationCodeMade
	v.wantStatus(v.do("POST", "/api/v1/invitation-codes", v.owner.token, map[string]any{"devices": []any{grant(v.spare, "live_view")}}), 201).decode(t, &made)

	b := v.browser()
	p := b.get("/invite").want(200, "/invite", "Somebody shares a camera with you")
	p.submit("/invite", "code", "").want(422, "/invite", "It is required.")
	p.submit("/invite", "code", made.Code, "csrf", "x").want(403, "/invite")
	login := p.submit("/invite", "code", made.Code).want(200, "/login?next=%2Finvite").lacks(made.Code)
	p = login.submit("/login", "login", v.stranger.email, "password", password).want(200, "/invite")
	if got := p.form("/invite").Get("code"); got != made.Code {
		t.Errorf("after the log-in the code is %q", got)
	}
	p.submit("/invite").want(200, "/shared-with-me", "Accepted.", "Garden", "Live View")
	if b.cookies["latchkey-code"] != "" {
		t.Error("the code is still in the browser")
	}
	v.as(v.recipient).get("/invite").submit("/invite", "code", made.Code).want(404, "/invite", "The code is not valid, or not any more.")
	v.as(v.owner).get("/invite").submit("/invite", "code", "<b>").want(404, "/invite").lacks("<b>")
}
