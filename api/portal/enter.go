package portal

import "latchkey/api/client"

// enterPage is the data of the page of a link that logs in.
type enterPage struct{ Form form }

// showEnter asks for the secret of a link of the demo, which is after its #: enter.js puts it
// into the form and sends that.
func showEnter(v *visit) error {
	return v.page("enter", v.t("enter.title"), enterPage{newForm()})
}

// enter logs in by a link.
func enter(v *visit) error {
	p := enterPage{newForm()}
	secret := secretOf(v.r.PostForm.Get("secret"))
	if secret == "" {
		p.Form.Wrong["secret"] = v.t("reason.It is required.")
		return v.render(statusWrong, "enter", v.t("enter.title"), p)
	}
	a, err := v.api.LogInByLinkWithResponse(v.ctx(), client.LoginLink{Secret: secret})
	if err != nil {
		return v.again("enter", v.t("enter.title"), &p.Form, &p, err, nil)
	}
	v.keep(*a.JSON201)
	v.redirect(home)
	return nil
}
