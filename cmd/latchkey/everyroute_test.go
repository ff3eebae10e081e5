package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// mayKnow lists, for each operation with an id in its path, the people for whom the thing
// exists. For everybody else the answer is that of an id that nobody has. A new operation
// is missing here until somebody has thought about it.
var mayKnow = map[string]struct {
	who  []string
	body string // for an operation with one
}{
	"removeAddress":                {who: onlyOwner},
	"sendAddressCode":              {who: onlyOwner},
	"makeAddressPrimary":           {who: onlyOwner},
	"verifyAddress":                {who: onlyOwner, body: `{"code":"123456"}`},
	"revokeRegistrationInvitation": {who: onlyOwner},
	"endSession":                   {who: onlyOwner},
	"getDevice":                    {who: onlyOwner},
	"renameDevice":                 {who: onlyOwner, body: `{"name":"Mine"}`},
	"removeDevice":                 {who: onlyOwner},
	"refreshDevice":                {who: onlyOwner},
	"setDeviceCredentials":         {who: onlyOwner, body: `{"username":"u","password":"p"}`},
	"dismissAccessRequest":         {who: onlyOwner},
	"listDeviceAccess":             {who: onlyOwner},
	"listDeviceViewers":            {who: onlyOwner},
	"forgetRecipient":              {who: onlyOwner},
	"getShare":                     {who: bothParties},
	"replaceShare":                 {who: bothParties, body: `{"devices":[]}`},
	"deleteShare":                  {who: bothParties},
	"pauseShare":                   {who: bothParties},
	"resumeShare":                  {who: bothParties},
	"putShareDevice":               {who: bothParties, body: `{"channels":[]}`},
	"removeShareDevice":            {who: bothParties},
	"pauseShareDevice":             {who: bothParties},
	"resumeShareDevice":            {who: bothParties},
	"acceptDevice":                 {who: bothParties},
	"rejectDevice":                 {who: bothParties},
	"dismissDevice":                {who: bothParties},
	"setDeviceDomain":              {who: bothParties, body: `{"domain":"mine"}`},
	"revokeStreamKey":              {who: onlyOwner},
	"revokeInvitationCode":         {who: onlyOwner},
	"offerTransfer":                {who: onlyOwner, body: `{"recipient":{"email":"x@example.com"},"shares":"end","password":"` + userPassword + `"}`},
	"withdrawTransfer":             {who: onlyOwner},
	"acceptTransfer":               {who: bothParties},
	"rejectTransfer":               {who: bothParties},
}

var (
	onlyOwner   = []string{"owner"}
	bothParties = []string{"owner", "recipient"}
)

var requestIDs = regexp.MustCompile(`"request_id":"[^"]*"`)

// ask answers the status and the body of a request, less what names the request.
func (u *user) ask(method, path, body string) string {
	u.t.Helper()
	var payload io.Reader
	if body != "" {
		payload = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, "http://"+u.api.host+path, payload)
	if err != nil {
		u.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if u.token != "" {
		r.Header.Set("Authorization", "Bearer "+u.token)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		u.t.Fatal(err)
	}
	defer a.Body.Close()
	raw, err := io.ReadAll(a.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", a.StatusCode, requestIDs.ReplaceAll(bytes.TrimSpace(raw), []byte(`"request_id":""`)))
}

// firstOf answers the id of the first item of a list that is not the session that asks.
func (u *user) firstOf(path string) string {
	u.t.Helper()
	var list struct {
		Items []struct {
			ID      string
			Current bool
		}
	}
	u.must("GET", path, nil, &list)
	for _, item := range list.Items {
		if !item.Current && item.ID != "" {
			return item.ID
		}
	}
	u.t.Fatalf("%s has nothing", path)
	return ""
}

// TestEveryRouteHidesWhatIsNotYours walks every operation with an id in its path: to
// those who may not know the thing, the answer is the one for a thing that is not there.
func TestEveryRouteHidesWhatIsNotYours(t *testing.T) {
	raw, err := openapi3.NewLoader().LoadFromFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, binary, t.TempDir())
	people := map[string]*user{"owner": s.register(t, "owner"), "recipient": s.register(t, "recipient"), "stranger": s.register(t, "stranger"), "nobody": {t: t, api: s.api}}
	owner := people["owner"]
	s.login(t, "owner") // another session, to be ended
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", cameraUser, cameraPassword)
	share := owner.share(people["recipient"], device, "live_view")
	people["recipient"].accept(share, device)
	gone := owner.share(people["stranger"], device, "live_view")
	owner.must("DELETE", "/shares/"+gone, nil, nil)
	people["stranger"].must("POST", "/access-requests", map[string]any{"serial": device}, nil)
	var invitation struct{ ID string }
	owner.must("POST", "/accounts/me/invitations", map[string]any{}, &invitation)
	var code struct{ ID string }
	owner.must("POST", "/invitation-codes", map[string]any{"devices": []any{map[string]any{"device": device, "channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}}}, &code)
	ids := map[string]string{
		"transfer": owner.offer(device, people["recipient"].login, "end").ID,
		"code":     code.ID,
		"share":    share, "device": device, "name": nameOf(owner.streamKey()), "invitation": invitation.ID,
		"access_request": owner.firstOf("/access-requests"),
		"session":        owner.firstOf("/accounts/me/sessions"), "address": owner.firstOf("/accounts/me/addresses"), "recipient": owner.firstOf("/shares/recipients"),
	}
	missing := map[string]string{
		"code":   strings.Repeat("a", len(code.ID)),
		"share":  "0198c0de-0000-7000-8000-00000000000a.000102030405060708090a0b0c0d0e0f",
		"device": "cam-aaaaaaaaaa", "name": "kaaaaaaaaaaaa", "invitation": strings.Repeat("a", len(invitation.ID)),
		"session": strings.Repeat("0", len(ids["session"])), "address": strings.Repeat("0", len(ids["address"])), "recipient": strings.Repeat("0", len(ids["recipient"])),
	}
	missing["transfer"] = "cam-aaaaaaaaaa~1"
	missing["recipient"], missing["access_request"] = missing["share"], "cam-aaaaaaaaaa.0198c0de-0000-7000-8000-00000000000a"
	walked := 0
	for _, path := range raw.Paths.InMatchingOrder() {
		for method, op := range raw.Paths.Find(path).Operations() {
			if !strings.Contains(path, "{") {
				continue
			}
			row, known := mayKnow[op.OperationID]
			if !known {
				t.Errorf("%s %s (%s): who may know that the thing exists? Add it to mayKnow", method, path, op.OperationID)
				continue
			}
			walked++
			real, none := path, path
			for name, id := range ids {
				real, none = strings.ReplaceAll(real, "{"+name+"}", id), strings.ReplaceAll(none, "{"+name+"}", missing[name])
			}
			if strings.Contains(real, "{") || (op.RequestBody != nil && op.RequestBody.Value.Required) != (row.body != "") {
				t.Errorf("%s %s: ids of %q, the body %q", method, path, real, row.body)
				continue
			}
			for who, u := range people {
				if slices.Contains(row.who, who) {
					continue
				}
				want := u.ask(method, none, row.body)
				if got := u.ask(method, real, row.body); got != want {
					t.Errorf("%s %s by the %s:\n%s, but for what is not there\n%s", method, path, who, got, want)
				}
				if who == "nobody" && !strings.HasPrefix(want, "401 ") || who != "nobody" && !strings.HasPrefix(want, "404 ") {
					t.Errorf("%s %s by the %s: %s", method, path, who, want)
				}
			}
			if method == http.MethodGet {
				for _, who := range row.who {
					if got := people[who].ask(method, real, ""); !strings.HasPrefix(got, "200 ") {
						t.Errorf("%s %s by the %s: %s", method, path, who, got)
					}
				}
			}
		}
	}
	if walked < len(mayKnow) {
		t.Errorf("%d operations were walked, the table has %d", walked, len(mayKnow))
	}
	// Nothing of all that has changed anything.
	var left struct {
		Items []struct{ Role string }
	}
	if people["recipient"].must("GET", "/privileges", nil, &left); len(left.Items) != 1 || left.Items[0].Role != "recipient" {
		t.Errorf("the recipient's privileges: %+v", left)
	}
	var now json.RawMessage
	owner.must("GET", "/devices/"+device, nil, &now)
}

// TestEveryRouteNeedsASession: without one, every operation but the public ones answers
// the same.
func TestEveryRouteNeedsASession(t *testing.T) {
	raw, err := openapi3.NewLoader().LoadFromFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, binary, t.TempDir())
	nobody := &user{t: t, api: s.api}
	for path, item := range raw.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Security != nil && len(*op.Security) == 0 {
				continue
			}
			if got := nobody.ask(method, strings.NewReplacer("{", "", "}", "").Replace(path), ""); !strings.HasPrefix(got, "401 ") || !strings.Contains(got, `"unauthenticated"`) {
				t.Errorf("%s %s: %s", method, path, got)
			}
		}
	}
}
