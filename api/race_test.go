package api

import (
	"encoding/json"
	"sync"
	"testing"

	"latchkey/api/internal/rest"
)

// TestALostRaceShowsWhatIsThere: of two clients that save the same share at once, one
// wins; the other gets the share as it is, as it may see it, with a tag for the next try.
func TestALostRaceShowsWhatIsThere(t *testing.T) {
	v := newVillage(t)
	tag := v.do("GET", v.path(), v.owner.token, nil).Header.Get("ETag")
	var both sync.WaitGroup
	var answers [2]answer
	for i, remark := range []string{"one", "two"} {
		both.Go(func() {
			answers[i] = v.do("PUT", v.path(), v.owner.token, `{"remark":"`+remark+`","devices":[]}`, "If-Match", tag)
		})
	}
	both.Wait()
	won, lost := answers[0], answers[1]
	if won.StatusCode != 200 {
		won, lost = lost, won
	}
	v.wantStatus(won, 200)
	p := v.wantProblem(lost, 412, "revision_changed")
	current, err := json.Marshal(p.Current)
	if err != nil || p.ETag == "" || p.ETag != won.Header.Get("ETag") || lost.Header.Get("ETag") != p.ETag {
		t.Fatalf("%+v, %v; ETag %s", p, err, won.Header.Get("ETag"))
	}
	var want rest.Share
	won.decode(t, &want)
	if there, _ := json.Marshal(want); string(current) != string(there) {
		t.Errorf("current is\n%s\nwant\n%s", current, there)
	}
	v.wantStatus(v.do("PUT", v.path(), v.owner.token, `{"remark":"two","devices":[]}`, "If-Match", p.ETag), 200)

	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/devices/" + v.spare, `{"channels":[{"channel":1,"privileges":["ptz"]}]}`},
		{"DELETE", "/devices/" + v.spare, ""}, {"DELETE", "", ""}, {"POST", "/pause", ""}, {"POST", "/resume", ""},
		{"POST", "/devices/" + v.spare + "/accept", ""}, {"POST", "/devices/" + v.spare + "/reject", ""},
		{"PUT", "/devices/" + v.spare + "/domain", `{"domain":"door"}`},
	} {
		for _, who := range []person{v.owner, v.recipient} {
			p := v.wantProblem(v.do(c.method, v.path(c.path), who.token, orNone(c.body), "If-Match", tag), 412, "revision_changed")
			if p.Current == nil || p.Current.ID != v.id || (p.Current.Remark != "") != (who == v.owner) {
				t.Errorf("%s %s: %+v", c.method, c.path, p.Current)
			}
		}
		if p := v.wantProblem(v.do(c.method, v.path(c.path), v.stranger.token, orNone(c.body), "If-Match", tag), 404, "share_not_found"); p.Current != nil {
			t.Errorf("%s %s shows a stranger %+v", c.method, c.path, p.Current)
		}
	}
}

func orNone(body string) any {
	if body == "" {
		return nil
	}
	return body
}
