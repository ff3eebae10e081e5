package api

import (
	"strconv"
	"testing"
	"time"
)

// TestAskingIsLimitedByNetwork: many accounts of one network ask no more often than one,
// and keep nobody elsewhere from asking. A serial that nobody has counts as any other.
func TestAskingIsLimitedByNetwork(t *testing.T) {
	v := newVillage(t)
	ask := func(from string, who person, i int) answer {
		r := v.request("POST", "/api/v1/access-requests", who.token, map[string]any{"serial": "cam-" + strconv.Itoa(i)})
		r.RemoteAddr = from + ":1000"
		return v.send(r)
	}
	for i := range 20 {
		who := v.recipient
		if i%2 == 1 {
			who = v.stranger
		}
		a := v.wantStatus(ask("192.0.2.9", who, i), 202)
		if a.Header.Get("Latchkey-Position") != "" || len(a.body) != 0 {
			t.Errorf("the answer tells more than it should: %v %s", a.Header, a.body)
		}
	}
	v.wantProblem(ask("192.0.2.9", v.recipient, 20), 429, "rate_limited")
	v.wantStatus(ask("192.0.2.10", v.recipient, 20), 202)
	v.clock.advance(3 * time.Minute)
	v.wantStatus(ask("192.0.2.9", v.recipient, 21), 202)
	v.wantProblem(ask("192.0.2.9", v.recipient, 22), 429, "rate_limited")
}
