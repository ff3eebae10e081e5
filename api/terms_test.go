package api

import (
	"strings"
	"testing"
	"time"

	"latchkey/api/internal/rest"
)

// TestTerms: when a share, a device in it and single privileges hold is set and shown to
// both sides, whether it holds now too; what is sent back, or left out, changes nothing.
func TestTerms(t *testing.T) {
	v := newVillage(t)
	v.accept()
	until := v.clock.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	device := `{"terms":{"from":"2020-01-01T02:00:00+02:00","playback":{"last_days":7}},"channels":[{"channel":1,"privileges":["live_view","ptz"],
		"limits":[{"privileges":["ptz"],"hours":{"zone":"Europe/Berlin","spans":[{"days":["mon","fri"],"start":"22:00","end":"06:00"}]}}]}]}`
	v.wantStatus(v.do("PUT", v.path("/devices/", v.device), v.owner.token, device), 200)
	s := v.changed(v.do("PUT", v.path(), v.owner.token, `{"remark":"x","terms":{"until":"`+until+`"},"devices":[{"device":"`+v.device+`","channels":[{"channel":1,"privileges":["live_view","ptz"]}]}]}`))
	if s.Terms.Until.Format(time.RFC3339) != until || !s.InForce || !s.Devices[0].InForce || s.Devices[0].Terms.From.IsZero() || s.Devices[0].Terms.Playback.LastDays != 7 {
		t.Fatalf("%+v", s)
	}
	if l := s.Devices[0].Channels[0].Limits; len(l) != 1 || l[0].Hours.Zone != "Europe/Berlin" || l[0].InForce == nil {
		t.Fatalf("what was left out is gone: %+v", s.Devices[0].Channels)
	}
	read := v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200)
	if !strings.Contains(string(read.body), `"from":"2020-01-01T00:00:00Z"`) {
		t.Errorf("times are not in UTC: %s", read.body)
	}
	if back := v.wantStatus(v.do("PUT", v.path(), v.owner.token, string(read.body)), 200); string(back.body) != string(read.body) {
		t.Errorf("sent back:\n%s\nbecame\n%s", read.body, back.body)
	}
	received := v.shares(v.recipient, "received")[0]
	if received.Terms.Until.IsZero() || !received.InForce || received.Devices[0].Terms.From.IsZero() {
		t.Errorf("the recipient sees %+v", received)
	}
	var may rest.PrivilegeList
	v.wantStatus(v.do("GET", "/api/v1/privileges", v.recipient.token, nil), 200).decode(t, &may)
	if c := may.Items[0].Conditions; !may.Items[0].InForce || len(c) != 4 || c[2].RecordingsFrom.IsZero() || c[3].Channel != 1 {
		t.Errorf("%+v", may.Items[0])
	}

	// After the end it is shown, not in force, and can be sent back and moved.
	v.clock.advance(2 * time.Hour)
	if s := v.shares(v.recipient, "received")[0]; s.InForce || s.Devices[0].InForce || s.Status != rest.Live {
		t.Errorf("after its end: %+v", s)
	}
	may = rest.PrivilegeList{}
	v.wantStatus(v.do("GET", "/api/v1/privileges", v.recipient.token, nil), 200).decode(t, &may)
	if may.Items[0].InForce {
		t.Errorf("after its end: %+v", may.Items[0])
	}
	read = v.wantStatus(v.do("GET", v.path(), v.owner.token, nil), 200)
	v.wantStatus(v.do("PUT", v.path(), v.owner.token, string(read.body)), 200)
	s = v.changed(v.do("PUT", v.path(), v.owner.token, `{"terms":{},"devices":[{"device":"`+v.device+`","terms":{},"channels":[{"channel":1,"privileges":["live_view"],"limits":[]}]}]}`))
	if !s.Terms.IsZero() || !s.Devices[0].Terms.IsZero() || s.Devices[0].Channels[0].Limits != nil || !s.InForce {
		t.Errorf("removed: %+v", s)
	}
}

// TestTermsThatAreWrong: the answer names the field, and nothing is changed.
func TestTermsThatAreWrong(t *testing.T) {
	v := newVillage(t)
	tag := v.do("GET", v.path(), v.owner.token, nil).Header.Get("ETag")
	span := `{"days":["mon"],"start":"08:00","end":"09:00"}`
	for terms, field := range map[string]string{
		`{"until":"2020-01-01T00:00:00Z"}`: "until",
		`{"until":"0001-01-01T00:00:00Z"}`: "until",
		`{"until":null}`:                   "until",
		`{"until":"tomorrow"}`:             "until",
		`{"from":"2190-01-02T00:00:00Z","until":"2190-01-01T00:00:00Z"}`:                          "until",
		`{"hours":{"zone":"Mars/Olympus","spans":[` + span + `]}}`:                                "hours/zone",
		`{"hours":{"zone":"Local","spans":[` + span + `]}}`:                                       "hours/zone",
		`{"hours":{"zone":"UTC","spans":[]}}`:                                                     "hours/spans",
		`{"hours":{"zone":"UTC","spans":[` + strings.Repeat(span+",", 50) + span + `]}}`:          "hours/spans",
		`{"hours":{"zone":"UTC","spans":[{"days":["mon"],"start":"08:00","end":"08:00"}]}}`:       "hours/spans/0/end",
		`{"hours":{"zone":"UTC","spans":[{"days":["mon"],"start":"24:00","end":"08:00"}]}}`:       "hours/spans/0/start",
		`{"hours":{"zone":"UTC","spans":[{"days":["mon","mon"],"start":"07:00","end":"08:00"}]}}`: "hours/spans/0/days",
		`{"playback":{"last_days":0}}`:                                                            "playback/last_days",
		`{"playback":{}}`:                                                                         "playback",
		`{"playback":{"since_acceptance":false}}`:                                                 "playback/since_acceptance",
	} {
		channels := `"channels":[{"channel":1,"privileges":["live_view"]}]`
		for at, a := range map[string]answer{
			"#/terms/":           v.do("PUT", v.path("/devices/", v.device), v.owner.token, `{"terms":`+terms+`,`+channels+`}`),
			"#/devices/0/terms/": v.do("PUT", v.path(), v.owner.token, `{"remark":"x","devices":[{"device":"`+v.device+`","terms":`+terms+`,`+channels+`}]}`),
			"#/terms/ ":          v.do("PUT", v.path(), v.owner.token, `{"remark":"x","terms":`+terms+`,"devices":[]}`),
		} {
			p := v.wantStatus(a, 422).problem(t)
			if p.Errors[strings.TrimSpace(at[1:])+field] == "" {
				t.Errorf("%s at %s: %+v", terms, at, p)
			}
		}
	}
	limits := func(limits string) answer {
		return v.do("PUT", v.path("/devices/", v.device), v.owner.token, `{"channels":[{"channel":1,"privileges":["live_view"],"limits":`+limits+`}]}`)
	}
	for list, field := range map[string]string{
		`[{"privileges":["ptz"],"from":"2190-01-02T00:00:00Z"}]`:        "/channels/0/limits/0/privileges",
		`[{"privileges":["live_view"]}]`:                                "/channels/0/limits/0",
		`[{"privileges":["live_view"],"until":"2020-01-01T00:00:00Z"}]`: "/channels/0/limits/0/until",
	} {
		if p := v.wantProblem(limits(list), 422, "invalid_terms"); p.Errors[field] == "" {
			t.Errorf("%s: %+v", list, p)
		}
	}
	if now := v.do("GET", v.path(), v.owner.token, nil).Header.Get("ETag"); now != tag {
		t.Error("a refused request changed something")
	}
}
