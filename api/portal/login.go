package portal

import (
	"net/http"
	"time"

	"latchkey/api/client"
)

// showRoot leads to where somebody goes on.
func showRoot(v *visit) error {
	if v.token != "" {
		v.redirect(home)
		return nil
	}
	needed, err := v.unused()
	if err != nil {
		return err
	}
	if needed {
		v.redirect("/setup")
	} else {
		v.redirect("/login")
	}
	return nil
}

// loginPage is the data of the page to log in.
type loginPage struct {
	Form form
	Next string
}

func showLogin(v *visit) error {
	next := local(v.r.URL.Query().Get("next"), home)
	if v.token != "" {
		v.redirect(next)
		return nil
	}
	return v.page("login", v.t("login.title"), loginPage{newForm(), next})
}

func logIn(v *visit) error {
	p := loginPage{v.typed("login"), local(v.r.PostForm.Get("next"), home)}
	if err := v.begin(p.Form.Get("login"), v.r.PostForm.Get("password")); err != nil {
		return v.again("login", v.t("login.title"), &p.Form, &p, err, nil)
	}
	a, err := v.api.GetAccountWithResponse(v.ctx(), nil)
	if err == nil && a.JSON200 != nil && !a.JSON200.Verified {
		v.redirect("/register/code")
		return nil
	}
	v.redirect(p.Next)
	return nil
}

// begin logs in and keeps the session in the browser.
func (v *visit) begin(login, password string) error {
	a, err := v.api.LogInWithResponse(v.ctx(), client.Credentials{Login: login, Password: password})
	if err != nil {
		return err
	}
	v.keep(*a.JSON201)
	return nil
}

// keep keeps a session in the browser, and uses it from now on.
func (v *visit) keep(s client.Session) {
	v.setProof(cookieSession, s.Token, s.ExpiresAt)
	v.dropProof(cookieVisitor)
	v.token, v.api = s.Token, v.api.As(s.Token)
}

// logOut ends the session, and what the browser kept of it.
func logOut(v *visit) error {
	if v.token != "" {
		if _, err := v.api.LogOutWithResponse(v.ctx()); err != nil && !client.HasCode(err, "unauthenticated") {
			return err
		}
	}
	v.dropProof(cookieSession)
	v.say("logged_out")
	v.redirect("/login")
	return nil
}

// setPreferences keeps how pages look in the browser.
func setPreferences(v *visit) error {
	year := int(preferencesFor / time.Second)
	if tag := v.r.PostForm.Get("language"); tag != "" {
		v.set(cookieLanguage, v.languageOf(tag, "").tag, year)
	}
	switch theme := v.r.PostForm.Get("theme"); theme {
	case "light", "dark":
		v.set(cookieTheme, theme, year)
	case "system":
		v.set(cookieTheme, "", 0)
	}
	http.Redirect(v.w, v.r, local(v.r.PostForm.Get("back"), "/"), http.StatusSeeOther)
	return nil
}
