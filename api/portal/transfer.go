package portal

import (
	"latchkey/api/client"
)

// transferPage is the data of the page on which a device is offered to another account.
type transferPage struct {
	Form       form
	Path, Name string
	Countries  []countryChoice
}

func (v *visit) transferPage(f form) (*transferPage, error) {
	p, err := v.device()
	if err != nil {
		return nil, err
	}
	return &transferPage{Form: f, Path: p.Path, Name: p.Name, Countries: v.countries()}, nil
}

func showTransfer(v *visit) error {
	p, err := v.transferPage(newForm("kind", "email", "country", v.usualCountry(), "shares", "end"))
	if err != nil {
		return err
	}
	return v.page("transfer", v.t("transfer.title"), p)
}

// offerTransfer offers a device to another account.
func offerTransfer(v *visit) error {
	f := v.typed("kind", "email", "country", "phone", "shares")
	p, err := v.transferPage(f)
	if err != nil {
		return err
	}
	email, phone := v.address()
	if email == "" && phone == "" {
		p.Form.Wrong[addressField(&p.Form)] = v.t("reason.It is required.")
		return v.render(statusWrong, "transfer", v.t("transfer.title"), p)
	}
	_, err = v.api.OfferTransferWithResponse(v.ctx(), v.r.PathValue("device"), &client.OfferTransferParams{IdempotencyKey: v.key()}, client.NewTransfer{
		Recipient: client.TransferRecipient{Email: email, Phone: phone}, Shares: f.Get("shares"), Password: v.r.PostForm.Get("password"),
	})
	if err != nil {
		return v.again("transfer", v.t("transfer.title"), &p.Form, p, err, nil)
	}
	v.say("offered", "device", p.Name, "person", email+phone)
	v.redirect("/devices/requests")
	return nil
}
