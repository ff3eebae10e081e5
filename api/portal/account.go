package portal

import (
	"cmp"
	"strings"

	"latchkey/api/client"
)

// accountPage is the data of the page of the account.
type accountPage struct {
	Form    form
	Address string
}

func (v *visit) account() (client.OwnAccount, error) {
	a, err := v.api.GetAccountWithResponse(v.ctx(), nil)
	if err != nil {
		return client.OwnAccount{}, err
	}
	return *a.JSON200, nil
}

func showAccount(v *visit) error {
	a, err := v.account()
	if err != nil {
		return err
	}
	f := newForm("name", a.Name, "user_name", a.UserName, "language", cmp.Or(string(a.Language), "en"))
	return v.page("account", v.t("account.title"), accountPage{f, cmp.Or(a.Email, a.Phone)})
}

func updateAccount(v *visit) error {
	a, err := v.account()
	if err != nil {
		return err
	}
	p := accountPage{v.typed("name", "user_name", "language"), cmp.Or(a.Email, a.Phone)}
	body := map[string]any{
		"name": strings.TrimSpace(p.Form.Get("name")), "user_name": strings.TrimSpace(p.Form.Get("user_name")), "language": p.Form.Get("language"),
	}
	if err := v.api.Call(v.ctx(), "PUT", "/accounts/me", body, nil); err != nil {
		return v.again("account", v.t("account.title"), &p.Form, &p, err, nil)
	}
	v.say("saved")
	v.redirect("/account")
	return nil
}
