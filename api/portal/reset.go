package portal

import (
	"encoding/base64"
	"net/http"
	"strings"

	"latchkey/api/client"
)

// statusWrong is the status of a page whose form has something wrong.
const statusWrong = http.StatusUnprocessableEntity

// cookieReset keeps the login for which a code was asked, so that it need not be typed
// again and is in no address.
const cookieReset = "latchkey-reset"

const resetFor = 60 * 60 // seconds, as the code is valid

// resetPage is the data of both pages for a forgotten password.
type resetPage struct{ Form form }

func showReset(v *visit) error {
	return v.page("reset", v.t("reset.title"), resetPage{newForm()})
}

func requestReset(v *visit) error {
	p := resetPage{v.typed("login")}
	login := strings.TrimSpace(p.Form.Get("login"))
	if _, err := v.api.RequestPasswordResetWithResponse(v.ctx(), client.PasswordResetRequest{Login: login}); err != nil {
		return v.again("reset", v.t("reset.title"), &p.Form, &p, err, nil)
	}
	v.set(cookieReset, base64.RawURLEncoding.EncodeToString([]byte(login)), resetFor)
	v.redirect("/reset/code")
	return nil
}

func showResetCode(v *visit) error {
	login, err := base64.RawURLEncoding.DecodeString(cookieValue(v.r, cookieReset))
	if err != nil || len(login) > 254 {
		login = nil
	}
	return v.page("resetcode", v.t("resetcode.title"), resetPage{newForm("login", string(login))})
}

func confirmReset(v *visit) error {
	p := resetPage{v.typed("login")}
	_, err := v.api.ConfirmPasswordResetWithResponse(v.ctx(), client.PasswordReset{
		Login: strings.TrimSpace(p.Form.Get("login")), Code: strings.TrimSpace(v.r.PostForm.Get("code")), NewPassword: v.r.PostForm.Get("password"),
	})
	if err != nil {
		return v.again("resetcode", v.t("resetcode.title"), &p.Form, &p, err, map[string]string{"new_password": "password"})
	}
	v.set(cookieReset, "", 0)
	v.dropProof(cookieSession)
	v.say("password_set")
	v.redirect("/login")
	return nil
}
