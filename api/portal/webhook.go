package portal

import (
	"net/http"
	"strings"

	"latchkey/api/client"
)

// webhookPage is the data of the page of the webhook.
type webhookPage struct {
	Form          form
	Set           bool
	URL           string
	Enabled       bool
	State         string
	Tried, Broken *stamp
	Secret        string // of the one just made
}

func (v *visit) webhook(f form) (*webhookPage, error) {
	p := &webhookPage{Form: f}
	a, err := v.api.GetWebhookWithResponse(v.ctx())
	if client.HasCode(err, "webhook_not_found") {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	w := *a.JSON200
	p.Set, p.URL, p.Enabled, p.Tried, p.Broken = true, w.URL, w.Enabled, v.at(w.LastTriedAt), v.at(w.FailingSince)
	switch {
	case w.DisabledReason != "":
		p.State = v.t("webhook.disabled." + string(w.DisabledReason))
	case !w.FailingSince.IsZero():
		p.State = v.t("webhook.failing")
	default:
		p.State = v.t("webhook.enabled")
	}
	if _, typed := f.Values["url"]; !typed {
		p.Form.Values["url"] = w.URL
	}
	return p, nil
}

func showWebhook(v *visit) error {
	p, err := v.webhook(newForm())
	if err != nil {
		return err
	}
	return v.page("webhook", v.t("webhook.title"), p)
}

// setWebhook sets the webhook, tests it or removes it. The page with a new secret follows
// without a redirect, as it is nowhere else.
func setWebhook(v *visit) error {
	f := v.typed("url")
	switch v.r.PostForm.Get("do") {
	case "set":
		a, err := v.api.SetWebhookWithResponse(v.ctx(), &client.SetWebhookParams{IdempotencyKey: v.key()}, client.NewWebhook{URL: strings.TrimSpace(f.Get("url"))})
		if err != nil {
			return v.webhookAgain(f, err)
		}
		p, err := v.webhook(newForm())
		if err != nil {
			return err
		}
		if a.JSON200 != nil {
			p.Secret = a.JSON200.Secret
		}
		return v.render(http.StatusOK, "webhook", v.t("webhook.title"), p)
	case "test":
		a, err := v.api.TestWebhookWithResponse(v.ctx())
		if err != nil {
			return v.webhookAgain(newForm(), err)
		}
		if a.JSON200.Delivered {
			v.say("webhook.delivered")
		} else {
			v.say("webhook.undelivered")
		}
	case "remove":
		if ok, err := v.confirmed(v.t("webhook.remove.ask"), v.t("webhook.remove"), "/account/webhook"); !ok {
			return err
		}
		if _, err := v.api.RemoveWebhookWithResponse(v.ctx(), &client.RemoveWebhookParams{IdempotencyKey: v.key()}); err != nil {
			return v.webhookAgain(newForm(), err)
		}
		v.say("webhook.removed")
	default:
		return errNoPage
	}
	v.redirect("/account/webhook")
	return nil
}

func (v *visit) webhookAgain(f form, err error) error {
	p, wrong := v.webhook(f)
	if wrong != nil {
		return wrong
	}
	return v.again("webhook", v.t("webhook.title"), &p.Form, p, err, nil)
}
