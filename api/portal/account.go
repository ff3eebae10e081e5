package portal

import (
	"cmp"
	"strings"

	"latchkey/api/client"
)

// accountPage is the data of the page of the account.
type accountPage struct {
	Form     form // the profile
	Password form
	Address  string
	Sessions []sessionRow
}

type sessionRow struct {
	ID            string
	Current, Near bool // Near: made from the network that asks
	Made, Used    *stamp
	Ends          *stamp
}

func (v *visit) account() (client.OwnAccount, error) {
	a, err := v.api.GetAccountWithResponse(v.ctx(), nil)
	if err != nil {
		return client.OwnAccount{}, err
	}
	return *a.JSON200, nil
}

func (v *visit) accountPage() (*accountPage, error) {
	a, err := v.account()
	if err != nil {
		return nil, err
	}
	list, err := v.api.ListSessionsWithResponse(v.ctx())
	if err != nil {
		return nil, err
	}
	p := &accountPage{
		Form:     newForm("name", a.Name, "user_name", a.UserName, "language", cmp.Or(string(a.Language), "en")),
		Password: newForm(), Address: cmp.Or(a.Email, a.Phone),
	}
	for _, s := range list.JSON200.Items {
		p.Sessions = append(p.Sessions, sessionRow{s.ID, s.Current, s.SameNetwork, v.at(s.CreatedAt), v.at(s.UsedAt), v.at(s.ExpiresAt)})
	}
	return p, nil
}

func showAccount(v *visit) error {
	p, err := v.accountPage()
	if err != nil {
		return err
	}
	return v.page("account", v.t("account.title"), p)
}

func updateAccount(v *visit) error {
	p, err := v.accountPage()
	if err != nil {
		return err
	}
	p.Form = v.typed("name", "user_name", "language")
	body := map[string]any{
		"name": strings.TrimSpace(p.Form.Get("name")), "user_name": strings.TrimSpace(p.Form.Get("user_name")), "language": p.Form.Get("language"),
	}
	if err := v.api.Call(v.ctx(), "PUT", "/accounts/me", body, nil); err != nil {
		return v.again("account", v.t("account.title"), &p.Form, p, err, nil)
	}
	v.say("saved")
	v.redirect("/account")
	return nil
}

// changePassword changes the password. Every session ends with it; this browser goes on
// with a new one.
func changePassword(v *visit) error {
	p, err := v.accountPage()
	if err != nil {
		return err
	}
	a, err := v.api.ChangePasswordWithResponse(v.ctx(), &client.ChangePasswordParams{IdempotencyKey: v.key()}, client.PasswordChange{
		Current: v.r.PostForm.Get("current"), New: v.r.PostForm.Get("new"),
	})
	if err != nil {
		return v.again("account", v.t("account.title"), &p.Password, p, err, nil)
	}
	v.keep(*a.JSON200)
	v.say("password_changed")
	v.redirect("/account")
	return nil
}

// endSessions ends one session, or all but this one.
func endSessions(v *visit) error {
	var err error
	session := v.r.PostForm.Get("session")
	switch session {
	case "":
		return errNoPage
	case "others":
		_, err = v.api.EndOtherSessionsWithResponse(v.ctx())
	default:
		_, err = v.api.EndSessionWithResponse(v.ctx(), session)
	}
	if err != nil {
		return err
	}
	v.say("session_ended")
	v.redirect("/account")
	return nil
}
