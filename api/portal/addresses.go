package portal

import (
	"errors"
	"strings"

	"latchkey/api/client"
)

// addressesPage is the data of the page of one's addresses.
type addressesPage struct {
	Form      form // of a new one
	Changing  form // what went wrong with one of the list
	Rows      []addressRow
	Countries []countryChoice
}

type addressRow struct {
	ID, Text          string
	Verified, Primary bool
	Added             *stamp
}

func (v *visit) addressesPage(f form) (*addressesPage, error) {
	a, err := v.api.ListAddressesWithResponse(v.ctx())
	if err != nil {
		return nil, err
	}
	p := &addressesPage{Form: f, Changing: newForm(), Countries: v.countries()}
	for _, one := range a.JSON200.Items {
		text := addressText(one)
		if text == "" {
			text = v.t("person.unknown")
		}
		p.Rows = append(p.Rows, addressRow{one.ID, text, one.Verified, one.Primary, v.at(one.AddedAt)})
	}
	return p, nil
}

func showAddresses(v *visit) error {
	p, err := v.addressesPage(newForm("kind", "email", "country", v.usualCountry()))
	if err != nil {
		return err
	}
	return v.page("addresses", v.t("addresses.title"), p)
}

// addAddress adds an address; a code is sent to it.
func addAddress(v *visit) error {
	p, err := v.addressesPage(v.typed("kind", "email", "country", "phone"))
	if err != nil {
		return err
	}
	email, phone := v.address()
	if email == "" && phone == "" {
		p.Form.Wrong[addressField(&p.Form)] = v.t("reason.It is required.")
		return v.render(statusWrong, "addresses", v.t("addresses.title"), p)
	}
	_, err = v.api.AddAddressWithResponse(v.ctx(), &client.AddAddressParams{IdempotencyKey: v.key()}, client.NewAddress{Email: email, Phone: phone})
	if err != nil {
		return v.again("addresses", v.t("addresses.title"), &p.Form, p, err, nil)
	}
	v.say("address_added")
	v.redirect("/account/addresses")
	return nil
}

// changeAddress verifies an address, sends it a new code, or makes it the one that others
// see.
func changeAddress(v *visit) error {
	id := v.r.PathValue("address")
	var err error
	said := ""
	switch v.r.PostForm.Get("do") {
	case "verify":
		said = "verified"
		code := strings.Join(strings.Fields(v.r.PostForm.Get("code")), "")
		_, err = v.api.VerifyAddressWithResponse(v.ctx(), id, &client.VerifyAddressParams{IdempotencyKey: v.key()}, client.Code{Code: code})
	case "send":
		said = "code_resent"
		_, err = v.api.SendAddressCodeWithResponse(v.ctx(), id, &client.SendAddressCodeParams{IdempotencyKey: v.key()})
	case "primary":
		said = "saved"
		_, err = v.api.MakeAddressPrimaryWithResponse(v.ctx(), id, &client.MakeAddressPrimaryParams{IdempotencyKey: v.key()})
	default:
		return errNoPage
	}
	if err != nil {
		p, wrong := v.addressesPage(newForm("kind", "email", "country", v.usualCountry()))
		if wrong != nil {
			return wrong
		}
		return v.again("addresses", v.t("addresses.title"), &p.Changing, p, err, nil)
	}
	v.say(said)
	v.redirect("/account/addresses")
	return nil
}

// removeAddressPage is the data of the page that asks before an address is removed.
type removeAddressPage struct {
	Form   form
	ID     string
	Text   string
	Shares int // that end with it; known once it was refused for them
}

func (v *visit) removing() (*removeAddressPage, error) {
	list, err := v.addressesPage(newForm())
	if err != nil {
		return nil, err
	}
	for _, row := range list.Rows {
		if row.ID == v.r.PathValue("address") {
			return &removeAddressPage{Form: newForm(), ID: row.ID, Text: row.Text}, nil
		}
	}
	return nil, errNoPage
}

func askRemoveAddress(v *visit) error {
	p, err := v.removing()
	if err != nil {
		return err
	}
	return v.page("removeaddress", v.t("addresses.remove.title"), p)
}

// removeAddress removes an address. If devices were accepted through it, it asks again,
// as they are given up with it.
func removeAddress(v *visit) error {
	p, err := v.removing()
	if err != nil {
		return err
	}
	_, err = v.api.RemoveAddressWithResponse(v.ctx(), p.ID, &client.RemoveAddressParams{
		IdempotencyKey: v.key(), LeaveShares: v.r.PostForm.Get("leave_shares") == "yes",
	})
	if err != nil {
		if refused, ok := errors.AsType[*client.Error](err); ok {
			p.Shares = len(refused.Shares)
		}
		return v.again("removeaddress", v.t("addresses.remove.title"), &p.Form, p, err, nil)
	}
	v.say("address_removed", "address", p.Text)
	v.redirect("/account/addresses")
	return nil
}
