package portal

import (
	"cmp"
	"strings"

	"latchkey/api/client"
)

// requestsPage is the data of the page of what waits between accounts: devices that change
// hands, claims, and requests for access.
type requestsPage struct {
	Form      form // what was refused
	Asking    form // the form to ask for access
	Transfers []transferRow
	Reclaims  []reclaimRow
	Requests  []requestRow
	More      bool // there are more than are shown
}

type transferRow struct {
	ID, Device, DeviceName, Who string
	Given, Keep                 bool
	Ends                        *stamp
}

type reclaimRow struct {
	ID, Name, Serial, Who string
	Given                 bool
	Ready, Ends           *stamp
}

type requestRow struct {
	ID, Device, DeviceName, Who, Address, Message, Share string
	At                                                   *stamp
}

func showRequests(v *visit) error {
	p, err := v.requests()
	if err != nil {
		return err
	}
	p.Asking.Values["serial"] = v.r.URL.Query().Get("serial")
	return v.page("requests", v.t("requests.title"), p)
}

func (v *visit) requests() (*requestsPage, error) {
	p := &requestsPage{Form: newForm(), Asking: newForm()}
	t, err := v.api.ListTransfersWithResponse(v.ctx(), &client.ListTransfersParams{Limit: mostRows})
	if err != nil {
		return nil, err
	}
	for _, one := range t.JSON200.Items {
		if one.Status != "waiting" {
			continue
		}
		row := transferRow{ID: one.ID, Device: one.Device.ID, DeviceName: cmp.Or(one.Device.Name, one.Device.Model, one.Device.ID), Given: one.Direction == "given", Keep: one.Shares == "keep", Ends: v.at(one.ExpiresAt)}
		if row.Who = v.personName(one.From); row.Given {
			row.Who = v.recipientName(one.Recipient)
		}
		p.Transfers = append(p.Transfers, row)
	}
	c, err := v.api.ListReclaimsWithResponse(v.ctx(), &client.ListReclaimsParams{Limit: mostRows})
	if err != nil {
		return nil, err
	}
	for _, one := range c.JSON200.Items {
		if one.Status != "waiting" && one.Status != "ready" {
			continue
		}
		row := reclaimRow{ID: one.ID, Name: cmp.Or(one.Device.Name, one.Serial), Serial: one.Serial, Given: one.Direction == "given", Ready: v.at(one.ReadyAt), Ends: v.at(one.ExpiresAt)}
		if !row.Given {
			row.Who = v.personName(one.From)
		}
		p.Reclaims = append(p.Reclaims, row)
	}
	r, err := v.api.ListAccessRequestsWithResponse(v.ctx(), &client.ListAccessRequestsParams{Limit: mostRows})
	if err != nil {
		return nil, err
	}
	for _, one := range r.JSON200.Items {
		p.Requests = append(p.Requests, requestRow{
			ID: one.ID, Device: one.Device.ID, DeviceName: cmp.Or(one.Device.Name, one.Device.ID),
			Who: v.personName(one.From), Address: personAddress(one.From), Message: one.Message,
			Share: sharePath(one), At: v.at(one.RequestedAt),
		})
	}
	p.More = t.JSON200.Next != "" || c.JSON200.Next != "" || r.JSON200.Next != ""
	return p, nil
}

// sharePath leads to the form that gives somebody what they asked for.
func sharePath(r client.AccessRequest) string {
	return "/my-shares/new?" + query("device", r.Device.ID, "email", r.From.Email, "phone", r.From.Phone)
}

// decideRequest answers what waits: the button is <what>:<id>.
func decideRequest(v *visit) error {
	what, id, _ := strings.Cut(v.r.PostForm.Get("do"), ":")
	var err error
	switch what {
	case "accept":
		_, err = v.api.AcceptTransferWithResponse(v.ctx(), id, &client.AcceptTransferParams{IdempotencyKey: v.key()})
	case "reject":
		_, err = v.api.RejectTransferWithResponse(v.ctx(), id, &client.RejectTransferParams{IdempotencyKey: v.key()})
	case "withdraw":
		_, err = v.api.WithdrawTransferWithResponse(v.ctx(), id, &client.WithdrawTransferParams{IdempotencyKey: v.key()})
	case "object":
		_, err = v.api.ObjectToReclaimWithResponse(v.ctx(), id, &client.ObjectToReclaimParams{IdempotencyKey: v.key()})
	case "unclaim":
		_, err = v.api.WithdrawReclaimWithResponse(v.ctx(), id, &client.WithdrawReclaimParams{IdempotencyKey: v.key()})
	case "dismiss":
		_, err = v.api.DismissAccessRequestWithResponse(v.ctx(), id, &client.DismissAccessRequestParams{IdempotencyKey: v.key()})
	default:
		return errNoPage
	}
	if err != nil {
		f := newForm()
		status := v.refused(&f, err, nil)
		if status == 0 {
			return err
		}
		p, wrong := v.requests()
		if wrong != nil {
			return wrong
		}
		p.Form = f
		return v.render(status, "requests", v.t("requests.title"), p)
	}
	v.say("request." + what)
	v.redirect("/devices/requests")
	return nil
}

// askAccess asks whoever has a device for access to it.
func askAccess(v *visit) error {
	f := v.typed("serial", "message")
	_, err := v.api.RequestAccessWithResponse(v.ctx(), &client.RequestAccessParams{IdempotencyKey: v.key()}, client.NewAccessRequest{
		Serial: strings.TrimSpace(f.Get("serial")), Message: strings.TrimSpace(f.Get("message")),
	})
	if err != nil {
		status := v.refused(&f, err, nil)
		if status == 0 {
			return err
		}
		p, wrong := v.requests()
		if wrong != nil {
			return wrong
		}
		p.Asking = f
		return v.render(status, "requests", v.t("requests.title"), p)
	}
	v.say("asked")
	v.redirect("/devices/requests")
	return nil
}
