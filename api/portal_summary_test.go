package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// summaryOf asks for the words of a form, as the script of its page does.
func (b *browser) summaryOf(form url.Values) []string {
	b.w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/my-shares/summary", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept-Language", b.accept)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	a := httptest.NewRecorder()
	b.w.server.Handler().ServeHTTP(a, r)
	var lines []string
	if a.Code != http.StatusOK || json.Unmarshal(a.Body.Bytes(), &lines) != nil {
		b.w.t.Fatalf("the summary: %d %s", a.Code, a.Body)
	}
	return lines
}

func TestAFormIsSummedUpInWords(t *testing.T) {
	v := portalVillage(t)
	b := v.as(v.owner)
	const path = "/my-shares/new"
	p := b.get(path + "?device=" + v.device)
	form := p.form(path)
	form.Set("email", "rita@example.com")
	grants := func(set ...string) {
		form.Del("grant")
		for _, one := range set {
			form.Add("grant", v.device+"/1/"+one)
		}
	}
	for _, test := range []struct {
		name   string
		grants []string
		set    map[string]string
		want   []string
	}{
		{"nothing", nil, nil, []string{"On Front door, rita@example.com can do nothing."}},
		{"one", []string{"live_view"}, nil, []string{"On Front door, rita@example.com can watch live.", "This begins once rita@example.com has accepted."}},
		{"three", []string{"alarm", "live_view", "playback"}, nil, []string{"On Front door, rita@example.com can watch live, see its recordings and get its alarms.", "This begins once rita@example.com has accepted."}},
		{"an end", []string{"live_view"}, map[string]string{"until": "2031-12-03T18:00", "zone": "UTC"}, []string{"On Front door, rita@example.com can watch live.", "Until 3 Dec 2031, 18:00 UTC", "This begins once rita@example.com has accepted."}},
		{"an end elsewhere", []string{"live_view"}, map[string]string{"until": "2031-12-03T18:00", "zone": "Asia/Tokyo"}, []string{"On Front door, rita@example.com can watch live.", "Until 3 Dec 2031, 18:00 (Asia/Tokyo)", "This begins once rita@example.com has accepted."}},
		{"an end that is none", []string{"live_view"}, map[string]string{"until": "soon", "zone": "UTC"}, []string{"On Front door, rita@example.com can watch live.", "This begins once rita@example.com has accepted."}},
		{"taken away", []string{"live_view"}, map[string]string{"until": "", "remove": v.device}, []string{"Front door is not shared with rita@example.com any more. What rita@example.com is watching of it ends at once."}},
		{"nobody yet", []string{"ptz"}, map[string]string{"email": "", "remove": ""}, []string{"On Front door, the recipient can move the camera.", "This begins once the recipient has accepted."}},
	} {
		grants(test.grants...)
		for name, value := range test.set {
			form.Set(name, value)
		}
		if got := b.summaryOf(form); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	form.Set("csrf", "x")
	if a := b.request(http.MethodPost, "/my-shares/summary", form); a.Code != http.StatusForbidden {
		t.Errorf("without the token: %d", a.Code)
	}
}
