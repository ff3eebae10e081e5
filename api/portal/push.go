package portal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"latchkey/api/client"
)

// pushPart is the data of the part of a page that lets browsers be notified of alarms.
type pushPart struct {
	Key  string // with which a browser subscribes; "" if none can be notified
	Rows []pushRow
}

type pushRow struct {
	ID      string
	Made    *stamp
	Current bool // it was added with this session
}

// push reads which browsers are notified. A page is not kept from anybody because that
// cannot be had.
func (v *visit) push() pushPart {
	a, err := v.api.ListPushSubscriptionsWithResponse(v.ctx())
	if err != nil {
		return pushPart{}
	}
	p := pushPart{Key: a.JSON200.PublicKey}
	for _, one := range a.JSON200.Items {
		p.Rows = append(p.Rows, pushRow{one.ID, v.at(one.CreatedAt), one.Current})
	}
	return p
}

// removeBrowser ends the notifications of a browser.
func removeBrowser(v *visit) error {
	id := v.r.PostForm.Get("browser")
	if id == "" {
		return errNoPage
	}
	back := local(v.r.PostForm.Get("back"), "/alarms")
	if sure, err := v.confirmed(v.t("push.ask"), v.t("push.remove"), back); err != nil || !sure {
		return err
	}
	if _, err := v.api.RemovePushSubscriptionWithResponse(v.ctx(), id); err != nil && !client.HasCode(err, "push_subscription_not_found") {
		return err
	}
	v.say("browser_removed")
	v.redirect(back)
	return nil
}

// serveWorker serves the script that shows notifications while no page is open, with its
// words. It is served at the root: a worker may only lead to pages below its own address.
func (p *Portal) serveWorker(w http.ResponseWriter, r *http.Request) {
	v := p.visit(w, r)
	v.language = p.languageOf(r.URL.Query().Get("lang"), "")
	words := map[string]string{}
	for key, text := range v.words {
		if strings.HasPrefix(key, "push.alarm") || strings.HasPrefix(key, "alarm.kind.") {
			words[key] = text
		}
	}
	raw, err := json.Marshal(words)
	if err != nil {
		v.fail(err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", assetTypes[".js"])
	h.Set("Cache-Control", "no-cache")
	_, _ = fmt.Fprintf(w, "const words = %s;\n%s", raw, p.assets.files["worker.js"]) // the browser may be gone
}

// serveManifest serves what a browser needs to install the portal as an app: only then
// iPhones show notifications of it.
func (p *Portal) serveManifest(w http.ResponseWriter, _ *http.Request) {
	type icon struct {
		Src     string `json:"src"`
		Sizes   string `json:"sizes"`
		Type    string `json:"type"`
		Purpose string `json:"purpose,omitempty"`
	}
	raw, err := json.Marshal(map[string]any{
		"name": "Latchkey", "short_name": "Latchkey", "id": "/", "start_url": "/", "scope": "/", "display": "standalone",
		"background_color": "#f6f8f9", "theme_color": "#0b6b75",
		"icons": []icon{
			{p.assets.prefix + "icon-192.png", "192x192", "image/png", ""},
			{p.assets.prefix + "icon-512.png", "512x512", "image/png", ""},
			{p.assets.prefix + "icon-512.png", "512x512", "image/png", "maskable"},
		},
	})
	if err != nil {
		http.Error(w, "The manifest cannot be made.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/manifest+json")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Del("Vary")
	_, _ = w.Write(raw) // the browser may be gone
}
