package portal

import (
	"strings"

	"latchkey/api/client"
)

// cookieCode keeps the code of a share during a log-in.
const cookieCode = "latchkey-code"

const codeFor = 15 * 60 // seconds

const maxCode = 64 // bytes

// invitePage is the data of the page on which a code is redeemed.
type invitePage struct{ Form form }

// showInvite asks for the code of a share. That of a link is after its #, which browsers
// do not send: invite.js puts it into the field.
func showInvite(v *visit) error {
	code := cookieValue(v.r, cookieCode)
	if len(code) > maxCode {
		code = ""
	}
	return v.page("invite", v.t("invite.title"), invitePage{newForm("code", code)})
}

// redeem redeems the code of a share, after a log-in if needed.
func redeem(v *visit) error {
	p := invitePage{v.typed("code")}
	code := strings.TrimSpace(p.Form.Get("code"))
	if code == "" || len(code) > maxCode {
		p.Form.Wrong["code"] = v.t("reason.It is required.")
		return v.render(statusWrong, "invite", v.t("invite.title"), p)
	}
	if v.token == "" {
		v.set(cookieCode, code, codeFor)
		v.redirect("/login?next=%2Finvite")
		return nil
	}
	_, err := v.api.RedeemInvitationCodeWithResponse(v.ctx(), &client.RedeemInvitationCodeParams{IdempotencyKey: v.key()}, client.CodeToRedeem{Code: code})
	if err != nil {
		return v.again("invite", v.t("invite.title"), &p.Form, &p, err, nil)
	}
	v.set(cookieCode, "", 0)
	v.say("redeemed")
	v.redirect("/shared-with-me")
	return nil
}
