package portal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"latchkey/api/client"
	"latchkey/internal/qrcode"
)

// codesPage is the data of the page of one's invitation codes.
type codesPage struct {
	Form form
	Rows []codeRow
}

type codeRow struct {
	ID, Remark string
	Devices    []string
	Made, Ends *stamp
}

// codeMade is an invitation code, which is shown once.
type codeMade struct {
	Address, Code string
	QR            template.HTML
	Ends          *stamp
}

func (v *visit) codes(f form) (*codesPage, error) {
	a, err := v.api.ListInvitationCodesWithResponse(v.ctx())
	if err != nil {
		return nil, err
	}
	p := &codesPage{Form: f}
	found, _, _, err := v.offered(nil)
	if err != nil {
		return nil, err
	}
	now := v.cfg.Now()
	for _, c := range a.JSON200.Items {
		if c.Used || c.ExpiresAt.Before(now) {
			continue
		}
		row := codeRow{ID: c.ID, Remark: c.Remark, Made: v.at(c.CreatedAt), Ends: v.at(c.ExpiresAt)}
		for _, d := range c.Devices {
			row.Devices = append(row.Devices, cmp.Or(found[d.Device].Name, d.Device)+": "+v.functions(allOf(d.Channels)))
		}
		p.Rows = append(p.Rows, row)
	}
	return p, nil
}

func showCodes(v *visit) error {
	p, err := v.codes(newForm())
	if err != nil {
		return err
	}
	return v.page("codes", v.t("codes.title"), p)
}

// revokeCode makes a code worthless.
func revokeCode(v *visit) error {
	if ok, err := v.confirmed(v.t("codes.revoke.ask"), v.t("codes.revoke"), "/my-shares/codes"); !ok {
		return err
	}
	_, err := v.api.RevokeInvitationCodeWithResponse(v.ctx(), v.r.PostForm.Get("code"))
	if err != nil {
		f := newForm()
		status := v.refused(&f, err, nil)
		if status == 0 {
			return err
		}
		p, wrong := v.codes(f)
		if wrong != nil {
			return wrong
		}
		return v.render(status, "codes", v.t("codes.title"), p)
	}
	v.say("code_revoked")
	v.redirect("/my-shares/codes")
	return nil
}

// makeCode makes an invitation code of the form of a new share and shows it: like the
// secret of a stream key, it is nowhere else.
func makeCode(v *visit, e *editor, sent sentForm, changed bool, terms map[string]any) error {
	if len(sent.order) == 0 {
		e.Form.Fault = v.t("share.no_device")
		return v.editAgain(e, client.Share{}, sent, statusWrong)
	}
	devices := sent.devicesOf()
	if changed {
		for _, d := range devices {
			d["terms"] = terms
		}
	}
	raw, err := json.Marshal(map[string]any{"remark": strings.TrimSpace(e.Form.Get("remark")), "devices": devices})
	if err != nil {
		return fmt.Errorf("writing an invitation code: %w", err)
	}
	a, err := v.api.CreateInvitationCodeWithBodyWithResponse(v.ctx(), &client.CreateInvitationCodeParams{IdempotencyKey: v.key()}, "application/json", bytes.NewReader(raw))
	if err != nil {
		return v.notSaved(e, client.Share{}, sent, err)
	}
	made := codeMade{Address: v.self() + a.JSON201.URL, Code: a.JSON201.Code, Ends: v.at(a.JSON201.ExpiresAt)}
	drawn, err := qrcode.New(made.Address)
	if err != nil {
		return fmt.Errorf("drawing an invitation code: %w", err)
	}
	made.QR = template.HTML(drawn.SVG()) //nolint:gosec // it is a drawing of ours
	return v.render(http.StatusOK, "codemade", v.t("codes.made"), made)
}

// self is the address of this portal as the browser knows it.
func (v *visit) self() string {
	u := url.URL{Scheme: "http", Host: v.r.Host}
	if secure(v.r) {
		u.Scheme = "https"
	}
	return u.String()
}
