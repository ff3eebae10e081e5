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
	who     []string
	body    string   // for an operation with one
	answers []string // of a GET, to each of these people, if not 200
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
	"endDeviceViewer":              {who: onlyOwner},
	"getDeviceSnapshot":            {who: bothParties, answers: []string{"502", "502"}}, // the device is not there
	"listDeviceRecordings":         {who: bothParties, answers: []string{"400", "403"}}, // no day is asked for, and no playback given
	"playRecordings":               {who: bothParties, answers: []string{"400", "403"}}, // no WebSocket is asked for, and no playback given
	"movePTZ":                      {who: bothParties, body: `{"pan":1}`},
	"movePTZBy":                    {who: bothParties, body: `{"pan":1}`},
	"movePTZTo":                    {who: bothParties, body: `{"pan":1,"tilt":0,"zoom":0}`},
	"movePTZToPreset":              {who: bothParties},
	"stopPTZ":                      {who: bothParties},
	"releasePTZ":                   {who: bothParties},
	"listPTZPresets":               {who: bothParties, answers: []string{"409", "403"}}, // it has no address for it
	"getPTZStatus":                 {who: bothParties, answers: []string{"409", "403"}},
	"getChannelStreams":            {who: bothParties, answers: []string{"502", "502"}},
	"startWebRTCViewer":            {who: bothParties, body: "v=0"},
	"startWebRTCTalker":            {who: bothParties, body: "v=0"},
	"getTalk":                      {who: bothParties, answers: []string{"502", "403"}}, // no two-way audio is given
	"endWebRTCViewer":              {who: onlyOwner},
	"watchByMSE":                   {who: bothParties, answers: []string{"400", "400"}}, // no WebSocket is asked for
	"startHLSViewer":               {who: bothParties},
	"endHLSViewer":                 {who: onlyOwner},
	"getHLSFile":                   {who: onlyOwner, answers: []string{"404"}}, // nobody watches
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
	"acknowledgeAlarm":             {who: onlyOwner},
	"unacknowledgeAlarm":           {who: onlyOwner},
	"getAlarm":                     {who: onlyOwner},
	"getAlarmReceiver":             {who: onlyOwner},
	"makeAlarmReceiver":            {who: onlyOwner},
	"revokeAlarmReceiver":          {who: onlyOwner},
	"receiveAlarm":                 {who: anybody, body: `{}`}, // whoever has the key is the device
	"removePushSubscription":       {who: onlyOwner},
	"revokeInvitationCode":         {who: onlyOwner},
	"offerTransfer":                {who: onlyOwner, body: `{"recipient":{"email":"x@example.com"},"shares":"end","password":"` + userPassword + `"}`},
	"withdrawTransfer":             {who: onlyOwner},
	"acceptTransfer":               {who: bothParties},
	"rejectTransfer":               {who: bothParties},
	"withdrawReclaim":              {who: []string{"stranger"}},
	"objectToReclaim":              {who: onlyOwner},
	"completeReclaim":              {who: []string{"stranger"}, body: `{"name":"Mine","isapi_url":"http://127.0.0.1:1","rtsp_url":"rtsp://127.0.0.1:1/h264"}`},
}

var (
	onlyOwner   = []string{"owner"}
	bothParties = []string{"owner", "recipient"}
	anybody     = []string{"owner", "recipient", "stranger", "auditor", "nobody"}
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
	if strings.HasPrefix(body, "v=0") {
		r.Header.Set("Content-Type", "application/sdp")
	}
	if u.token != "" {
		r.Header.Set("Authorization", "Bearer "+u.token)
	}
	if name, password, ok := strings.Cut(u.basic, ":"); ok {
		r.SetBasicAuth(name, password)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		u.t.Fatal(err)
	}
	defer a.Body.Close()
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		u.t.Errorf("%s %s: Cache-Control is %q", method, path, got)
	}
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

// logReader is what an auditor has: credentials that read the log, and no account. They are
// those that a new EventStoreDB has.
const logReader = "admin:changeit"

// everybody is a service with people who have what the operations are about: the ids of the
// owner's things, and ids of the same form that nobody has.
type everybody struct {
	*service
	data         string
	people       map[string]*user
	ids, missing map[string]string
	secret       string // of the owner's stream key
}

// everyRoute is the API's description.
func everyRoute(t *testing.T) *openapi3.Paths {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return doc.Paths
}

const ownersRemark = "only the owner reads this"

func serveEverybody(t *testing.T) *everybody {
	data := t.TempDir()
	s := serve(t, binary, data)
	e := &everybody{service: s, data: data, people: map[string]*user{
		"owner": s.register(t, "owner"), "recipient": s.register(t, "recipient"), "stranger": s.register(t, "stranger"),
		"auditor": {t: t, api: s.api, basic: logReader}, "nobody": {t: t, api: s.api},
	}}
	owner, recipient, stranger := e.people["owner"], e.people["recipient"], e.people["stranger"]
	s.login(t, "owner") // another session, to be ended
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", cameraUser, cameraPassword)
	gone := owner.share(stranger, device, "live_view")
	owner.must("DELETE", "/shares/"+gone, nil, nil)
	var shared, invited, code struct{ ID string }
	owner.must("POST", "/shares", map[string]any{"recipient": map[string]any{"email": recipient.login}, "remark": ownersRemark, "devices": []any{invitation(device, "live_view")}}, &shared)
	recipient.accept(shared.ID, device)
	stranger.must("POST", "/access-requests", map[string]any{"serial": device}, nil)
	owner.must("POST", "/accounts/me/invitations", map[string]any{}, &invited)
	owner.must("POST", "/invitation-codes", map[string]any{"devices": []any{invitation(device, "live_view")}}, &code)
	cam := startSimCamera(t, "127.2.1.1")
	door := simCamera(cam, "Door")
	door["serial"] = "DS-2CD2042WD-4711"
	owner.must("POST", "/devices", door, nil)
	key := owner.streamKey()
	_, e.secret, _ = strings.Cut(key, ":")
	var receiver, browser struct{ ID, Key, Path string }
	owner.must("POST", "/devices/"+device+"/alarm-receiver", nil, &receiver)
	if status := postAlarm(t, s, receiver.Path, "VMD"); status != http.StatusNoContent {
		t.Fatalf("posting an alarm: status %d", status)
	}
	owner.must("POST", "/accounts/me/push-subscriptions", map[string]any{"endpoint": "https://push.example.com/x", "keys": map[string]any{
		"p256dh": "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM", "auth": "tBHItJI5svbpez7KI4CCXg",
	}}, &browser)
	e.ids = map[string]string{
		"alarm": owner.firstOf("/alarms"), "key": receiver.Key, "subscription": browser.ID,
		"viewer":   "1", // nobody watches: the owner alone is told so
		"channel":  "1",
		"preset":   "1",
		"file":     "index.m3u8",
		"transfer": owner.offer(device, recipient.login, "end").ID, "reclaim": stranger.claim(simCamera(cam, "Mine")).ID,
		"code": code.ID, "share": shared.ID, "device": device, "name": nameOf(key), "invitation": invited.ID,
		"access_request": owner.firstOf("/access-requests"), "session": owner.firstOf("/accounts/me/sessions"),
		"address": owner.firstOf("/accounts/me/addresses"), "recipient": owner.firstOf("/shares/recipients"),
	}
	const share = "0198c0de-0000-7000-8000-00000000000a.000102030405060708090a0b0c0d0e0f"
	e.missing = map[string]string{
		"alarm": "0198c0de-0000-7000-8000-00000000000b", "key": strings.Repeat("A", len(receiver.Key)), "subscription": strings.Repeat("a", len(browser.ID)),
		"viewer":   "1",
		"channel":  "1",
		"preset":   "1",
		"file":     "index.m3u8",
		"transfer": "cam-aaaaaaaaaa~1", "reclaim": "cam-aaaaaaaaaa.0198c0de-0000-7000-8000-00000000000a", "code": strings.Repeat("a", len(code.ID)), "share": share, "recipient": share, "device": "cam-aaaaaaaaaa", "name": "kaaaaaaaaaaaa",
		"invitation": strings.Repeat("a", len(invited.ID)), "access_request": "cam-aaaaaaaaaa.0198c0de-0000-7000-8000-00000000000a",
		"session": strings.Repeat("0", len(e.ids["session"])), "address": strings.Repeat("0", len(e.ids["address"])),
	}
	return e
}

// filled puts ids into a path.
func filled(path string, ids map[string]string) string {
	for name, id := range ids {
		path = strings.ReplaceAll(path, "{"+name+"}", id)
	}
	return path
}

// noSession reports whether somebody has none: to them nothing is there at all.
func noSession(who string) bool { return who == "nobody" || who == "auditor" }

// TestEveryRouteHidesWhatIsNotYours walks every operation with an id in its path: to
// those who may not know the thing, the answer is the one for a thing that is not there.
func TestEveryRouteHidesWhatIsNotYours(t *testing.T) {
	t.Parallel()
	e := serveEverybody(t)
	routes, people := everyRoute(t), e.people
	walked := 0
	for _, path := range routes.InMatchingOrder() {
		for method, op := range routes.Find(path).Operations() {
			if !strings.Contains(path, "{") {
				continue
			}
			row, known := mayKnow[op.OperationID]
			if !known {
				t.Errorf("%s %s (%s): who may know that the thing exists? Add it to mayKnow", method, path, op.OperationID)
				continue
			}
			walked++
			real, none := filled(path, e.ids), filled(path, e.missing)
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
				if noSession(who) && !strings.HasPrefix(want, "401 ") || !noSession(who) && !strings.HasPrefix(want, "404 ") {
					t.Errorf("%s %s by the %s: %s", method, path, who, want)
				}
			}
			if method == http.MethodGet {
				for i, who := range row.who {
					want := "200"
					if row.answers != nil {
						want = row.answers[i]
					}
					if got := people[who].ask(method, real, ""); !strings.HasPrefix(got, want+" ") {
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
	people["owner"].must("GET", "/devices/"+e.ids["device"], nil, &now)
}

// TestEveryRouteNeedsASession: without one, every operation but the public ones answers
// the same; with what reads the log, too.
func TestEveryRouteNeedsASession(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	nobody, auditor := &user{t: t, api: s.api}, &user{t: t, api: s.api, basic: logReader}
	for path, item := range everyRoute(t).Map() {
		path := strings.NewReplacer("{", "", "}", "").Replace(path)
		for method, op := range item.Operations() {
			got := nobody.ask(method, path, "")
			if other := auditor.ask(method, path, ""); got != other && op.OperationID != "getMetrics" && op.OperationID != "getReadiness" { // they count requests
				t.Errorf("%s %s by an auditor: %s\nby nobody: %s", method, path, other, got)
			}
			if op.Security != nil && len(*op.Security) == 0 {
				continue
			}
			if !strings.HasPrefix(got, "401 ") || !strings.Contains(got, `"unauthenticated"`) {
				t.Errorf("%s %s: %s", method, path, got)
			}
		}
	}
}
