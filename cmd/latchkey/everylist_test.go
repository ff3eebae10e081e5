package main

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// TestEveryListShowsOnlyYours walks every operation that reads without an id: no list has
// anything of the owner's for a stranger, nor what only the owner may know for a recipient.
func TestEveryListShowsOnlyYours(t *testing.T) {
	t.Parallel()
	e := serveEverybody(t)
	hidden := map[string][]string{ // from everybody but the owner
		"recipient": {ownersRemark, e.ids["alarm"], e.ids["key"], e.ids["subscription"], e.ids["name"], e.ids["code"], e.ids["invitation"], e.ids["access_request"], e.ids["session"], e.ids["address"], e.secret, cameraPassword, "rtsp://", e.people["stranger"].login},
		"stranger":  {ownersRemark, e.ids["alarm"], e.ids["key"], e.ids["subscription"], e.ids["name"], e.ids["code"], e.ids["invitation"], e.ids["access_request"], e.ids["session"], e.ids["address"], e.secret, cameraPassword, "rtsp://", e.ids["device"], e.ids["share"], e.people["recipient"].login},
	}
	walked := 0
	for path, item := range everyRoute(t).Map() {
		op := item.Get
		if op == nil || strings.Contains(path, "{") || op.OperationID == "streamEvents" || op.OperationID == "getSpecification" { // TestEventsOfAnAccount
			continue
		}
		if op.OperationID == "checkPrivilege" {
			path += "?channel=1&privilege=live_view&device=" + e.ids["device"]
		}
		if op.OperationID == "listShareUses" {
			path += "?shares=" + e.ids["share"]
		}
		walked++
		for who, words := range hidden {
			got := e.people[who].ask(http.MethodGet, path, "")
			if op.Security == nil && !strings.HasPrefix(got, "200 ") && op.OperationID != "checkPrivilege" && !strings.Contains(got, `"webhook_not_found"`) {
				t.Errorf("%s by the %s: %s", path, who, got)
			}
			for _, word := range words {
				if word == "" {
					t.Fatalf("nothing is looked for: %v", words)
				}
				if strings.Contains(got, word) && !(op.OperationID == "checkPrivilege" && word == e.ids["device"]) {
					t.Errorf("%s shows the %s %q:\n%s", path, who, word, got)
				}
			}
		}
	}
	if walked < 20 {
		t.Errorf("%d operations were walked", walked)
	}
	if got := e.people["owner"].ask(http.MethodGet, "/api/v1/shares/sent", ""); !strings.Contains(got, ownersRemark) {
		t.Errorf("the owner sees %s", got)
	}
}

// TestBodiesHideWhatIsNotYours: somebody else's ids in a body or a query are as those that
// nobody has.
func TestBodiesHideWhatIsNotYours(t *testing.T) {
	t.Parallel()
	e := serveEverybody(t)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/shares", `{"recipient":{"email":"x@example.com"},"devices":[{"device":"{device}","channels":[{"channel":1,"privileges":["live_view"]}]}]}`},
		{"POST", "/invitation-codes", `{"devices":[{"device":"{device}","channels":[{"channel":1,"privileges":["live_view"]}]}]}`},
		{"POST", "/stream-keys", `{"device":"{device}"}`},
		{"POST", "/invitations/decisions", `{"decisions":[{"share":"{share}","device":"{device}","decision":"accept"}]}`},
		{"POST", "/invitation-codes/redeem", `{"code":"{code}"}`},
		{"POST", "/access-requests", `{"serial":"{device}"}`},
		{"GET", "/privileges/check?channel=1&privilege=live_view&device={device}", ""},
		{"GET", "/shares/form?recipient={recipient}", ""},
		{"GET", "/shares/uses?shares={share}", ""},
	} {
		for _, who := range []string{"stranger", "auditor", "nobody"} {
			ask := func(ids map[string]string) string {
				got := e.people[who].ask(c.method, "/api/v1"+filled(c.path, ids), filled(c.body, ids))
				for name, id := range ids { // they are the caller's own words, but for numbers such as that of a channel
					if len(id) > 3 {
						got = strings.ReplaceAll(got, id, "{"+name+"}")
					}
				}
				return strings.ReplaceAll(got, "{recipient}", "{share}")
			}
			got, want := ask(e.ids), ask(e.missing)
			if got != want {
				t.Errorf("%s %s by the %s:\n%s, but for what is not there\n%s", c.method, c.path, who, got, want)
			}
			if noSession(who) && !strings.HasPrefix(got, "401 ") {
				t.Errorf("%s %s by the %s: %s", c.method, c.path, who, got)
			}
		}
	}
}

// TestAuditorsSeeNoVideo: what reads the log opens neither the door nor the address for
// operators, and the history has nothing that would.
func TestAuditorsSeeNoVideo(t *testing.T) {
	t.Parallel()
	e := serveEverybody(t)
	for _, path := range []string{"/" + e.ids["device"] + "/1", "/" + e.ids["device"] + "/1/sub", "/" + e.ids["device"] + "/1/playback?starttime=20260101T100000Z", "/none/1"} {
		if status := describeStatus(t, e.rtsp, path, logReader); status != 401 {
			t.Errorf("the door: %s: status %d", path, status)
		}
	}
	for path, item := range everyRoute(t).Map() {
		for method, op := range item.Operations() {
			r, err := http.NewRequest(method, "http://"+e.metrics+filled(path, e.ids), nil)
			if err != nil {
				t.Fatal(err)
			}
			name, password, _ := strings.Cut(logReader, ":")
			r.SetBasicAuth(name, password)
			a, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			a.Body.Close()
			operators := op.OperationID == "getMetrics" || op.OperationID == "getReadiness" || op.OperationID == "getHealth" || op.OperationID == "getRoot"
			if !operators && a.StatusCode != http.StatusNotFound {
				t.Errorf("the address for operators: %s %s: %s", method, path, a.Status)
			}
		}
	}
	e.stop(t)
	for _, format := range []string{"timeline", "ndjson"} {
		out, err := exec.Command(binary, "audit", "replay", "--data", e.data, "--format", format, "--quiet").Output()
		if err != nil {
			t.Fatal(err)
		}
		history := string(out)
		if !strings.Contains(history, e.ids["device"]) || !strings.Contains(history, e.ids["name"]) {
			t.Errorf("%s: the history says too little:\n%s", format, history)
		}
		for what, secret := range map[string]string{
			"a camera's address": "rtsp://", "a camera's user": cameraUser, "a camera's password": cameraPassword, "a key's secret": e.secret,
			"a session": e.people["owner"].token, "a password": userPassword,
		} {
			if secret == "" || strings.Contains(history, secret) {
				t.Errorf("%s: the history has %s (%q)", format, what, secret)
			}
		}
	}
}
