package portal

import "latchkey/api/client"

// closingPage is the data of the page that asks before an account is closed.
type closingPage struct {
	Form    form
	Devices int
	More    bool // there are more devices than that
}

func (v *visit) closing(f form) (closingPage, error) {
	a, err := v.api.ListDevicesWithResponse(v.ctx(), &client.ListDevicesParams{Limit: mostRows})
	if err != nil {
		return closingPage{}, err
	}
	return closingPage{f, len(a.JSON200.Items), a.JSON200.Next != ""}, nil
}

func askClose(v *visit) error {
	p, err := v.closing(newForm())
	if err != nil {
		return err
	}
	return v.page("close", v.t("close.title"), p)
}

// closeAccount closes the account for good.
func closeAccount(v *visit) error {
	f := newForm()
	if v.r.PostForm.Get("sure") != "yes" {
		f.Wrong["sure"] = v.t("close.sure.wrong")
		return v.closeAgain(f, statusWrong, nil)
	}
	_, err := v.api.CloseAccountWithResponse(v.ctx(), &client.CloseAccountParams{IdempotencyKey: v.key()}, client.AccountClosing{Password: v.r.PostForm.Get("password")})
	if err != nil {
		status := v.refused(&f, err, nil)
		return v.closeAgain(f, status, err)
	}
	v.dropProof(cookieSession)
	v.say("closed")
	v.redirect("/login")
	return nil
}

func (v *visit) closeAgain(f form, status int, err error) error {
	if status == 0 {
		return err
	}
	p, wrong := v.closing(f)
	if wrong != nil {
		return wrong
	}
	return v.render(status, "close", v.t("close.title"), p)
}
