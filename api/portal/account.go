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
	Notices  form
	Kinds    []tick
	Sessions []sessionRow
}

// tick is a choice that is on or off; its words are notices.<name>.
type tick struct {
	Name string
	On   bool
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
		Password: newForm(), Address: cmp.Or(a.Email, a.Phone), Notices: newForm(),
	}
	if p.Kinds, err = v.notices(); err != nil {
		return nil, err
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

// notices reads which notices the account gets by mail or text message.
func (v *visit) notices() ([]tick, error) {
	a, err := v.api.GetNoticesWithResponse(v.ctx())
	if err != nil {
		return nil, err
	}
	mail := a.JSON200.Mail
	k := mail.Kinds
	return []tick{
		{"enabled", mail.Enabled}, {"invitations", k.Invitations}, {"decisions", k.Decisions}, {"changes", k.Changes},
		{"ends", k.Ends}, {"requests", k.Requests}, {"reminders", k.Reminders}, {"own_actions", a.JSON200.OwnActions},
	}, nil
}

// setNotices sets which notices the account gets. What the form does not have stays as it is.
func setNotices(v *visit) error {
	on := func(name string) *bool {
		ticked := v.r.PostForm.Get(name) == "yes"
		return &ticked
	}
	_, err := v.api.SetNoticesWithResponse(v.ctx(), &client.SetNoticesParams{IdempotencyKey: v.key()}, client.NoticesUpdate{
		Mail: &client.NoticeChannelUpdate{Enabled: on("enabled"), Kinds: &client.NoticeKindsUpdate{
			Invitations: on("invitations"), Decisions: on("decisions"), Changes: on("changes"), Ends: on("ends"), Requests: on("requests"), Reminders: on("reminders"),
		}},
		OwnActions: on("own_actions"),
	})
	if err != nil {
		p, wrong := v.accountPage()
		if wrong != nil {
			return wrong
		}
		return v.again("account", v.t("account.title"), &p.Notices, p, err, nil)
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
	ask := v.t("sessions.end.ask")
	switch session {
	case "":
		return errNoPage
	case "others":
		ask = v.t("sessions.end_others.ask")
	}
	if ok, err := v.confirmed(ask, v.t("sessions.end"), "/account"); !ok {
		return err
	}
	switch session {
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
