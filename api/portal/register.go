package portal

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"latchkey/api/client"
	"latchkey/internal/country"
)

// countryChoice is a country in the list beside a number.
type countryChoice struct{ Code, Name, CallingCode string }

// countries lists all countries by their names in the language of the page.
func (v *visit) countries() []countryChoice {
	var list []countryChoice
	for _, c := range country.All() {
		name := c.English
		if v.tag == "de" {
			name = c.German
		}
		list = append(list, countryChoice{c.Code, name, c.CallingCode})
	}
	slices.SortFunc(list, func(a, b countryChoice) int { return cmp.Compare(folded.Replace(a.Name), folded.Replace(b.Name)) })
	return list
}

// folded puts names that begin with an accented letter where people look for them.
var folded = strings.NewReplacer("Ä", "A", "Å", "A", "Ö", "O", "Ü", "U")

// usualCountry is the one that is chosen at first, by the language of the page.
func (v *visit) usualCountry() string {
	if v.tag == "de" {
		return "DE"
	}
	return "US"
}

// number puts a calling code in front of a number that was typed without one.
func number(code, typed string) string {
	typed = strings.TrimSpace(typed)
	if typed == "" || strings.HasPrefix(typed, "+") || strings.HasPrefix(typed, "00") {
		return typed
	}
	for _, c := range country.All() {
		if c.Code == code {
			return c.CallingCode + " " + typed
		}
	}
	return typed
}

// address returns the address of a form: its email, or its number with the code of the
// country. The other one is "".
func (v *visit) address() (email, phone string) {
	if v.r.PostForm.Get("kind") == "phone" {
		return "", number(v.r.PostForm.Get("country"), v.r.PostForm.Get("phone"))
	}
	return strings.TrimSpace(v.r.PostForm.Get("email")), ""
}

// registerPage is the data of the page to register.
type registerPage struct {
	Form      form
	Countries []countryChoice
	Who       string // may register: open, invited or closed
}

func showRegister(v *visit) error {
	if v.token != "" {
		v.redirect(home)
		return nil
	}
	a, err := v.api.GetSetupWithResponse(v.ctx())
	if err != nil {
		return err
	}
	return v.page("register", v.t("register.title"), registerPage{newForm("kind", "email", "country", v.usualCountry()), v.countries(), a.JSON200.Registration})
}

func register(v *visit) error {
	p := registerPage{v.typed("kind", "email", "country", "phone", "name", "invitation"), v.countries(), "open"}
	email, phone := v.address()
	password := v.r.PostForm.Get("password")
	if email == "" && phone == "" {
		p.Form.Wrong[addressField(&p.Form)] = v.t("reason.It is required.")
		return v.render(statusWrong, "register", v.t("register.title"), p)
	}
	_, err := v.api.RegisterAccountWithResponse(v.ctx(), &client.RegisterAccountParams{IdempotencyKey: v.key()}, client.Registration{
		Email: email, Phone: phone, Password: password, Name: strings.TrimSpace(p.Form.Get("name")),
		Invitation: strings.TrimSpace(p.Form.Get("invitation")), Language: client.Language(v.messages()),
	})
	if err != nil {
		return v.again("register", v.t("register.title"), &p.Form, &p, err, nil)
	}
	if err := v.begin(email+phone, password); err != nil {
		v.say("registered")
		v.redirect("/login")
		return nil
	}
	a, err := v.api.GetAccountWithResponse(v.ctx(), nil)
	if err == nil && a.JSON200 != nil && a.JSON200.Verified {
		v.say("registered_in")
		v.redirect(home)
		return nil
	}
	v.redirect("/register/code")
	return nil
}

// addressField is the field of a form that the chosen kind of address is typed in.
func addressField(f *form) string {
	if f.Has("kind", "phone") {
		return "phone"
	}
	return "email"
}

// messages is the language in which messages are sent to somebody who uses this one.
func (v *visit) messages() string {
	if v.tag == "de" {
		return "de"
	}
	return "en"
}

// key returns the key of the command that the page was made with: a form that is sent
// twice takes effect once.
func (v *visit) key() string {
	key := v.r.PostForm.Get("key")
	if len(key) > 64 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return key
}

// digest makes a part of a key of a text of any length.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// verifyPage is the data of the page that asks for the code.
type verifyPage struct {
	Form    form
	Address string
	ID      string
}

// unverified returns the first address that waits for its code.
func (v *visit) unverified() (client.Address, bool, error) {
	a, err := v.api.ListAddressesWithResponse(v.ctx())
	if err != nil {
		return client.Address{}, false, err
	}
	for _, address := range a.JSON200.Items {
		if !address.Verified {
			return address, true, nil
		}
	}
	return client.Address{}, false, nil
}

func showVerify(v *visit) error {
	address, waits, err := v.unverified()
	if err != nil {
		return err
	}
	if !waits {
		v.redirect(home)
		return nil
	}
	return v.page("verify", v.t("verify.title"), verifyPage{newForm(), addressText(address), address.ID})
}

// addressText returns an address as people write it.
func addressText(a client.Address) string {
	return cmp.Or(a.Email, a.PhoneInternational, a.Phone)
}

func verify(v *visit) error {
	address, waits, err := v.unverified()
	if err != nil {
		return err
	}
	if !waits {
		v.redirect(home)
		return nil
	}
	p := verifyPage{newForm(), addressText(address), address.ID}
	code := strings.Join(strings.Fields(v.r.PostForm.Get("code")), "")
	if code == "" {
		p.Form.Wrong["code"] = v.t("reason.It is required.")
		return v.render(statusWrong, "verify", v.t("verify.title"), p)
	}
	_, err = v.api.VerifyAddressWithResponse(v.ctx(), address.ID, &client.VerifyAddressParams{IdempotencyKey: v.key()}, client.Code{Code: code})
	if err != nil {
		return v.again("verify", v.t("verify.title"), &p.Form, &p, err, nil)
	}
	v.say("verified")
	v.redirect(home)
	return nil
}

func sendCode(v *visit) error {
	address, waits, err := v.unverified()
	if err != nil {
		return err
	}
	if waits {
		p := verifyPage{newForm(), addressText(address), address.ID}
		if _, err := v.api.SendAddressCodeWithResponse(v.ctx(), address.ID, &client.SendAddressCodeParams{IdempotencyKey: v.key()}); err != nil {
			return v.again("verify", v.t("verify.title"), &p.Form, &p, err, nil)
		}
		v.say("code_sent", "address", p.Address)
	}
	v.redirect("/register/code")
	return nil
}
