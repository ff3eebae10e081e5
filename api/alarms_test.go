package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/eventstore"
	"latchkey/internal/alarms"
	"latchkey/internal/alert"
	"latchkey/internal/live"
	"latchkey/internal/vault"
	"latchkey/projections/access"
)

// memoryAlarms keeps alarms as alarms.Store promises, and everything else of Alarms.
type memoryAlarms struct {
	*alarms.Desk
	*alarms.Hub
	*alarms.Sends
	vault.Numbers
	permits *access.Permits

	mu       sync.Mutex
	rows     []alarms.Copy
	last     int64
	receiver map[string][2]string // device to owner and key
	browsers []BrowserView
	forbid   map[string]bool // account and channel
}

func newMemoryAlarms(t testing.TB) *memoryAlarms {
	m := &memoryAlarms{Numbers: vault.NewNumbers([]byte("of this test")), receiver: map[string][2]string{}, forbid: map[string]bool{}}
	m.permits = access.NewPermits(m, nil, nil)
	m.Sends = alarms.NewSends(m.permits, slog.New(slog.DiscardHandler))
	m.Hub = alarms.NewHub(m, slog.New(slog.DiscardHandler))
	m.Desk = alarms.NewDesk(alarms.Config{Store: m, Index: m, Logger: slog.New(slog.DiscardHandler), Raised: m.Hub.Wake,
		Having: func(_ context.Context, device string) (alarms.Having, bool, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return alarms.Having{Owner: m.receiver[device][0], Channels: []int{1, 2}}, true, nil
		}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Hub.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return m
}

func (m *memoryAlarms) Live(time.Time) bool            { return true }
func (m *memoryAlarms) Pulse() *access.Pulse           { return nil }
func (m *memoryAlarms) Key(ids.Key) (access.Key, bool) { return access.Key{}, false }
func (m *memoryAlarms) Pair(a ids.Account, _ ids.Device) access.Pair {
	return memoryPair{m, string(a)}
}

type memoryPair struct {
	of      *memoryAlarms
	account string
}

func (p memoryPair) Check(channel int, _ privilege.Set, _ time.Time) access.Standing {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.of.forbid[fmt.Sprint(p.account, channel)] {
		return access.Standing{Verdict: access.Forbidden}
	}
	return access.Standing{Verdict: access.Allowed}
}

func (m *memoryAlarms) Check(a ids.Account, d ids.Device, channel int, p privilege.Set, now time.Time) access.Verdict {
	return m.Pair(a, d).Check(channel, p, now).Verdict
}

// permit changes what an account may, as the index does, and waits as a command does.
func (m *memoryAlarms) permit(t testing.TB, account string, channel int, may bool) {
	t.Helper()
	m.mu.Lock()
	m.forbid[fmt.Sprint(account, channel)] = !may
	m.mu.Unlock()
	m.permits.Changed(access.Change{Account: ids.Account(account)})
	if err := m.AwaitCuts(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (m *memoryAlarms) RaiseAlarm(_ context.Context, n vault.RaisedAlarm) (alarms.Alarm, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	n.Seq = m.last
	for _, account := range n.Accounts {
		m.rows = append(m.rows, alarms.Copy{Alarm: n.Alarm, Account: account})
	}
	return n.Alarm, true, nil
}

func (m *memoryAlarms) AlarmsOf(_ context.Context, q vault.AlarmQuery) (list []alarms.Copy, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.rows {
		c := m.rows[len(m.rows)-1-i]
		if q.OldestFirst {
			c = m.rows[i]
		}
		if c.Account == q.Account && c.Seq > q.After && (q.Before == 0 || c.Seq < q.Before) && len(list) < q.Most &&
			(q.Device == "" || q.Device == c.Device) && (q.Channel == nil || *q.Channel == c.Channel) && (q.Acknowledged == nil || *q.Acknowledged == !c.Acknowledged.IsZero()) &&
			!c.Raised.Before(q.From) && (q.To.IsZero() || c.Raised.Before(q.To)) {
			list = append(list, c)
		}
	}
	return list, nil
}

func (m *memoryAlarms) AlarmOf(_ context.Context, account, id string) (alarms.Copy, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.rows {
		if c.Account == account && c.ID == id {
			return c, nil
		}
	}
	return alarms.Copy{}, vault.ErrNotFound
}

func (m *memoryAlarms) AcknowledgeAlarms(_ context.Context, account string, numbers ...int64) error {
	m.seen(account, noon, numbers)
	return nil
}

func (m *memoryAlarms) UnacknowledgeAlarm(_ context.Context, account string, seq int64) error {
	m.seen(account, time.Time{}, []int64{seq})
	return nil
}

func (m *memoryAlarms) seen(account string, at time.Time, numbers []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.rows {
		if m.rows[i].Account == account && slices.Contains(numbers, m.rows[i].Seq) {
			m.rows[i].Acknowledged = at
		}
	}
}

func (m *memoryAlarms) NewAlarms(_ context.Context, after, until int64) (list []alarms.Copy, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.rows {
		if c.Seq > after && c.Seq <= until {
			list = append(list, c)
		}
	}
	return list, nil
}

func (m *memoryAlarms) LastAlarm(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last, nil
}

func (m *memoryAlarms) AlarmReceiverOf(_ context.Context, device string) (vault.AlarmReceiver, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of, ok := m.receiver[device]
	if !ok {
		return vault.AlarmReceiver{}, vault.ErrNotFound
	}
	return vault.AlarmReceiver{Device: device, Owner: of[0], Created: noon}, nil
}

func (m *memoryAlarms) AlarmReceiverBy(_ context.Context, key string) (vault.AlarmReceiver, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for device, of := range m.receiver {
		if of[1] == key {
			return vault.AlarmReceiver{Device: device, Owner: of[0], Used: noon}, nil
		}
	}
	return vault.AlarmReceiver{}, vault.ErrNotFound
}

func (m *memoryAlarms) SetAlarmReceiver(_ context.Context, device, owner, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.receiver[device] = [2]string{owner, key}
	return nil
}

func (m *memoryAlarms) UsedAlarmReceiver(context.Context, string) error { return nil }

func (m *memoryAlarms) RevokeAlarmReceiver(_ context.Context, device string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, had := m.receiver[device]
	delete(m.receiver, device)
	return had, nil
}

func (m *memoryAlarms) CheckBrowser(b Browser) (field, why string) {
	if !strings.HasPrefix(b.Endpoint, "https://") {
		return "endpoint", "is not https"
	}
	if b.Auth == "bad" {
		return "auth", "is bad"
	}
	return "", ""
}

func (m *memoryAlarms) AddBrowser(_ context.Context, _, _ string, b Browser) (BrowserView, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.browsers = append(m.browsers, BrowserView{ID: fmt.Sprint("b", len(m.browsers)), Created: noon, Current: true})
	return m.browsers[len(m.browsers)-1], nil
}

func (m *memoryAlarms) Browsers(context.Context, string, string) ([]BrowserView, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.browsers, "key", nil
}

func (m *memoryAlarms) RemoveBrowser(_ context.Context, _, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, b := range m.browsers {
		if b.ID == id {
			m.browsers = append(m.browsers[:i], m.browsers[i+1:]...)
			return true, nil
		}
	}
	return false, nil
}

func (m *memoryAlarms) raise(t testing.TB, account, id string, channel int) {
	t.Helper()
	a := alarms.Alarm{ID: id, Device: "cam-mfrggzdfmy", Channel: channel, By: channel, Kind: string(alert.Motion), Raised: noon}
	if _, _, err := m.RaiseAlarm(t.Context(), vault.RaisedAlarm{Alarm: a, Accounts: []string{account}}); err != nil {
		t.Fatal(err)
	}
	m.Hub.Wake()
}

// TestAlarmsOverREST: a device posts, its owner reads and acknowledges.
func TestAlarmsOverREST(t *testing.T) {
	m := newMemoryAlarms(t)
	w := newWorld(t, func(cfg *Config) { cfg.Alarms = m })
	who, other := w.person("olga"), w.person("sam")
	owner, stranger := who.token, other.token
	id := w.camera(who, "Door")
	at := "/api/v1/devices/" + id + "/alarm-receiver"
	w.wantProblem(w.do("GET", at, owner, nil), 404, "alarm_receiver_not_found")
	w.wantProblem(w.do("POST", at, stranger, nil), 404, "device_not_found")
	var made struct{ Key, Path string }
	w.wantStatus(w.do("POST", at, owner, nil), 201).decode(t, &made)
	w.wantStatus(w.do("GET", at, owner, nil), 200)
	post := func(path, media, body string) answer {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", media)
		return w.send(r)
	}
	event := `<EventNotificationAlert><channelID>1</channelID><eventType>VMD</eventType><eventState>active</eventState></EventNotificationAlert>`
	for range 3 {
		w.wantStatus(post(made.Path, "application/xml; charset=\"UTF-8\"", event), 204)
	}
	w.wantStatus(post(made.Path, "application/json", `{"channelID":2,"eventType":"linedetection","eventState":"active"}`), 204)
	w.wantStatus(post(made.Path, "application/json", `{"eventType":"heartBeat","eventState":"active"}`), 204)
	w.wantProblem(post(made.Path, "application/json", `{"hello":1}`), 400, "malformed_body")
	w.wantProblem(post(made.Path, "application/xml", strings.Repeat("x", MaxBody+1)), 400, "malformed_body")
	picture := "--b\r\nContent-Type: image/jpeg\r\n\r\n" + strings.Repeat("x\r\n", MaxBody) + "\r\n"
	w.wantStatus(post(made.Path, "multipart/form-data; boundary=b", "--b\r\nContent-Type: application/json\r\n\r\n{\"eventType\":\"heartBeat\"}\r\n"+picture+"--b--\r\n"), 204)
	large := "--b\r\nContent-Type: image/jpeg\r\n\r\n" + strings.Repeat("x", 16<<20) + "\r\n--b\r\nContent-Type: application/xml\r\n\r\n" + event + "\r\n--b--\r\n"
	w.wantProblem(post(made.Path, "multipart/form-data; boundary=b", large), 413, "body_too_large")
	w.wantProblem(post("/api/v1/alarm-receivers/AAAA", "application/xml", event), 404, "alarm_receiver_not_found")
	if strings.Contains(w.logged.String(), made.Key) {
		t.Error("the key is logged")
	}

	var list struct {
		Items []struct {
			ID, Kind, Device string
			Channel          int
			AcknowledgedAt   time.Time `json:"acknowledged_at"`
		}
		Next string
	}
	w.wantStatus(w.do("GET", "/api/v1/alarms?limit=1", owner, nil), 200).decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].Kind != "line_crossing" || list.Items[0].Channel != 2 || list.Items[0].Device != id || list.Next == "" {
		t.Fatalf("%+v", list)
	}
	w.wantStatus(w.do("GET", "/api/v1/alarms?limit=1&cursor="+list.Next, owner, nil), 200).decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].Kind != "motion" {
		t.Fatalf("%+v", list)
	}
	alarm := list.Items[0].ID
	w.wantProblem(w.do("POST", "/api/v1/alarms/"+alarm+"/acknowledge", stranger, nil), 404, "alarm_not_found")
	w.wantStatus(w.do("POST", "/api/v1/alarms/"+alarm+"/acknowledge", owner, nil), 200)
	for query, want := range map[string]int{"acknowledged=true": 1, "acknowledged=false": 1, "channel=2": 1, "channel=9": 0, "device=" + id: 2, "device=cam-other": 0} {
		list.Items = nil
		w.wantStatus(w.do("GET", "/api/v1/alarms?"+query, owner, nil), 200).decode(t, &list)
		if len(list.Items) != want {
			t.Errorf("%s: %+v", query, list)
		}
	}
	w.wantProblem(w.do("GET", "/api/v1/alarms?cursor=x", owner, nil), 400, "invalid_cursor")
	w.wantProblem(w.do("GET", "/api/v1/alarms/"+alarm, stranger, nil), 404, "alarm_not_found")
	w.wantProblem(w.do("DELETE", "/api/v1/alarms/"+alarm+"/acknowledge", stranger, nil), 404, "alarm_not_found")
	var one struct {
		AcknowledgedAt time.Time `json:"acknowledged_at"`
		RaisedAt       time.Time `json:"raised_at"`
	}
	w.wantStatus(w.do("GET", "/api/v1/alarms/"+alarm, owner, nil), 200).decode(t, &one)
	if one.AcknowledgedAt.IsZero() {
		t.Error("it is not acknowledged")
	}
	for query, want := range map[string]int{"from=" + one.RaisedAt.Format(time.RFC3339Nano): 2, "to=" + one.RaisedAt.Format(time.RFC3339Nano): 0} {
		list.Items = nil
		w.wantStatus(w.do("GET", "/api/v1/alarms?"+query, owner, nil), 200).decode(t, &list)
		if len(list.Items) != want {
			t.Errorf("%s: %+v", query, list)
		}
	}
	one.AcknowledgedAt = time.Time{}
	w.wantStatus(w.do("DELETE", "/api/v1/alarms/"+alarm+"/acknowledge", owner, nil), 200).decode(t, &one)
	if !one.AcknowledgedAt.IsZero() {
		t.Error("it is still acknowledged")
	}
	all := func(up, from string, want int) {
		t.Helper()
		var done struct{ Count int }
		w.wantStatus(w.do("POST", "/api/v1/alarms/acknowledgements", owner, map[string]any{"up_to": up, "device": from}), 200).decode(t, &done)
		if done.Count != want {
			t.Errorf("%d were acknowledged, want %d", done.Count, want)
		}
	}
	w.wantProblem(w.do("POST", "/api/v1/alarms/acknowledgements", stranger, map[string]any{"up_to": alarm}), 404, "alarm_not_found")
	all(alarm, "cam-other", 0)
	all(alarm, id, 1) // the other one came later
	list.Items = nil
	w.wantStatus(w.do("GET", "/api/v1/alarms?acknowledged=false", owner, nil), 200).decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID == alarm {
		t.Errorf("what came later is acknowledged too: %+v", list)
	}
	m.permit(t, who.id, 1, false)
	w.wantProblem(w.do("GET", "/api/v1/alarms/"+alarm, owner, nil), 404, "alarm_not_found")
	list.Items = nil
	w.wantStatus(w.do("GET", "/api/v1/alarms", owner, nil), 200).decode(t, &list)
	if len(list.Items) != 1 || list.Items[0].Channel != 2 {
		t.Errorf("without the privilege on one channel: %+v", list)
	}
	w.wantStatus(w.do("DELETE", at, owner, nil), 204)
	w.wantProblem(w.do("DELETE", at, owner, nil), 404, "alarm_receiver_not_found")
	w.wantProblem(post(made.Path, "application/xml", event), 404, "alarm_receiver_not_found")
}

func TestPushSubscriptions(t *testing.T) {
	m := newMemoryAlarms(t)
	w := newWorld(t, func(cfg *Config) { cfg.Alarms = m })
	owner := w.person("olga").token
	const path = "/api/v1/accounts/me/push-subscriptions"
	body := func(endpoint, auth string) map[string]any {
		return map[string]any{"endpoint": endpoint, "expirationTime": nil, "keys": map[string]any{"p256dh": "k", "auth": auth}}
	}
	var made struct{ ID string }
	w.wantStatus(w.do("POST", path, owner, body("https://push.example/1", "a")), 201).decode(t, &made)
	if p := w.wantProblem(w.do("POST", path, owner, body("http://push.example/1", "a")), 422, "invalid_body"); p.Errors["/endpoint"] == "" {
		t.Errorf("%+v", p)
	}
	if p := w.wantProblem(w.do("POST", path, owner, body("https://push.example/1", "bad")), 422, "invalid_body"); p.Errors["/keys/auth"] == "" {
		t.Errorf("%+v", p)
	}
	if a := w.wantStatus(w.do("GET", path, owner, nil), 200); !bytes.Contains(a.body, []byte(`"public_key":"key"`)) || bytes.Contains(a.body, []byte("push.example")) {
		t.Errorf("%s", a.body)
	}
	w.wantStatus(w.do("DELETE", path+"/"+made.ID, owner, nil), 204)
	w.wantProblem(w.do("DELETE", path+"/"+made.ID, owner, nil), 404, "push_subscription_not_found")
}

// noLog is a log in which nothing happens.
type noLog struct{}

func (noLog) Subscribe(ctx context.Context, _ eventstore.Position, _ string, _ eventstore.Handler) error {
	<-ctx.Done()
	return ctx.Err()
}
func (noLog) Tail(context.Context, int, func(eventstore.Recorded) bool) error { return nil }
func (noLog) ReadAll(context.Context, eventstore.Position, string, func(eventstore.Recorded) error) error {
	return nil
}
func (noLog) Identity(context.Context) (eventstore.Identity, error) {
	return eventstore.Identity{}, eventstore.ErrNoIdentity
}

// noLogins knows no login.
type noLogins struct{}

func (noLogins) LoginsOf(context.Context, string, eventstore.Position) ([]string, error) {
	return nil, nil
}

// spiedConn reports what is written to a client.
type spiedConn struct {
	net.Conn
	wrote func([]byte)
}

func (c *spiedConn) Write(p []byte) (int, error) {
	c.wrote(p)
	return c.Conn.Write(p)
}

type spiedListener struct {
	net.Listener
	wrote func([]byte)
}

func (l spiedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &spiedConn{c, l.wrote}, nil
}

// following reads the alarms that a client is sent, over streams that begin again.
type following struct {
	t     *testing.T
	url   string
	token string
	last  string
	body  *bufio.Reader
	close func()
}

func (f *following) open() {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), "GET", f.url+eventsPath, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+f.token)
	if f.last != "" {
		r.Header.Set("Last-Event-ID", f.last)
	}
	a, err := http.DefaultClient.Do(r)
	for err == nil && a.StatusCode == http.StatusServiceUnavailable { // nothing is followed yet
		a.Body.Close()
		time.Sleep(time.Millisecond)
		a, err = http.DefaultClient.Do(r)
	}
	if err != nil || a.StatusCode != 200 {
		f.t.Fatalf("%v, %v", a, err)
	}
	f.body, f.close = bufio.NewReader(a.Body), func() { a.Body.Close() }
}

// until reads up to the alarm with an id, and returns those before it.
func (f *following) until(id string) (before []string) {
	f.t.Helper()
	for {
		line, err := f.body.ReadString('\n')
		if err != nil {
			f.close()
			f.open()
			continue
		}
		line = strings.TrimSpace(line)
		if last, ok := strings.CutPrefix(line, "id: "); ok {
			f.last = last
		}
		_, rest, ok := strings.Cut(line, `"alarm":"`)
		if !ok {
			continue
		}
		got, _, _ := strings.Cut(rest, `"`)
		if got == id {
			return before
		}
		before = append(before, got)
	}
}

// TestNoAlarmIsSentAfterTheAnswer: an alarm is raised while the privilege is being
// revoked, 1,000 times; nothing of it is written to the client's connection after the
// command has answered, and the stream loses nothing else.
func TestNoAlarmIsSentAfterTheAnswer(t *testing.T) {
	const rounds = 1000
	m := newMemoryAlarms(t)
	hub := live.New(live.Config{Log: noLog{}, Logins: noLogins{}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- hub.Run(ctx) }()
	defer func() { cancel(); <-done }()
	w := newWorld(t, func(cfg *Config) { cfg.Alarms, cfg.Live = m, hub })
	who := w.person("rita")
	token, rita := who.token, who.id

	var answered atomic.Int64 // rounds whose command has answered
	var leaked atomic.Int64
	s := httptest.NewUnstartedServer(w.server.Handler())
	s.Listener = spiedListener{s.Listener, func(p []byte) {
		if _, rest, ok := bytes.Cut(p, []byte(`"alarm":"race`)); ok {
			var n int64
			if _, err := fmt.Sscanf(string(rest), "%d", &n); err == nil && n < answered.Load() {
				leaked.Add(1)
			}
		}
	}}
	s.Start()
	defer s.Close()
	f := &following{t: t, url: s.URL, token: token}
	f.open()
	defer func() { f.close() }()
	sent := 0
	for i := range rounds {
		m.permit(t, rita, 1, true)
		raised := make(chan bool)
		go func() {
			m.raise(t, rita, fmt.Sprint("race", i), 1)
			close(raised)
		}()
		if i%2 == 0 {
			<-raised
		}
		wait := time.Duration(i%50) * 4 * time.Microsecond // any moment of the sending
		if i%20 == 19 {
			wait = 5 * time.Millisecond // surely after it, on a slow machine too
		}
		for moment := time.Now().Add(wait); time.Now().Before(moment); {
			runtime.Gosched()
		}
		m.permit(t, rita, 1, false)
		answered.Store(int64(i + 1))
		<-raised
		m.raise(t, rita, fmt.Sprint("after", i), 2)
		sent += len(f.until(fmt.Sprint("after", i)))
	}
	if n := leaked.Load(); n > 0 {
		t.Errorf("%d alarms were sent after the answer", n)
	}
	t.Logf("%d of %d were sent before the answer", sent, rounds)
	if sent == 0 {
		t.Errorf("none of %d was sent: the two do not meet", rounds)
	}
}

// begun opens a stream after an id, and returns its first event, and the mark after it.
func begun(t *testing.T, url, token, after string) (event, mark string) {
	t.Helper()
	f := &following{t: t, url: url, token: token, last: after}
	f.open()
	defer f.close()
	for {
		line, err := f.body.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			event = strings.TrimSpace(name)
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok && strings.Contains(id, "-") {
			return event, strings.TrimSpace(id)
		}
	}
}

// TestAlarmsOfOthersChangeNothing: an account sees nothing that counts them, neither as
// the mark of a stream nor as the cursor of the list, and cannot ask for it.
func TestAlarmsOfOthersChangeNothing(t *testing.T) {
	m := newMemoryAlarms(t)
	hub := live.New(live.Config{Log: noLog{}, Logins: noLogins{}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- hub.Run(ctx) }()
	defer func() { cancel(); <-done }()
	w := newWorld(t, func(cfg *Config) { cfg.Alarms, cfg.Live = m, hub })
	rita, stranger := w.person("rita"), w.person("sam")
	s := httptest.NewServer(w.server.Handler())
	defer s.Close()
	handed := func() { // everything that was raised
		t.Helper()
		for last, _ := m.LastAlarm(t.Context()); ; {
			l, err := m.Hub.Listen(t.Context(), "nobody", nil)
			if err == nil && l.From() < last {
				err = alarms.ErrEnded
			}
			if l != nil {
				l.Close()
			}
			if err == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	seen := func() string {
		t.Helper()
		handed()
		text := ""
		for _, p := range []string{rita.token, stranger.token} {
			event, mark := begun(t, s.URL, p, "")
			again, same := begun(t, s.URL, p, mark)
			text += fmt.Sprintln(event, mark, again, same) + string(w.wantStatus(w.do("GET", "/api/v1/alarms?limit=1", p, nil), 200).body)
		}
		return text
	}
	m.raise(t, rita.id, "one", 1)
	m.raise(t, rita.id, "two", 1)
	before := seen()
	for i := range 5 {
		m.raise(t, "somebody", fmt.Sprint("other", i), 1)
		if after := seen(); after != before {
			t.Fatalf("%s\nafter an alarm of somebody else:\n%s", before, after)
		}
	}
	for _, id := range []string{"0-0", "0-1", "0-7", "0-8"} { // as earlier versions gave them
		if event, _ := begun(t, s.URL, rita.token, id); event != "reset" {
			t.Errorf("after %s: %s", id, event)
		}
	}
	_, mark := begun(t, s.URL, rita.token, "")
	if event, _ := begun(t, s.URL, stranger.token, mark); event != "reset" {
		t.Errorf("after the mark of somebody else: %s", event)
	}
	for _, place := range []string{"1", "2", "7"} {
		cursor := base64.RawURLEncoding.EncodeToString([]byte("alarms:" + place))
		w.wantProblem(w.do("GET", "/api/v1/alarms?cursor="+cursor, rita.token, nil), 400, "invalid_cursor")
	}
}

// endingAlarms ends a session while the first alarm is sent.
type endingAlarms struct {
	*memoryAlarms
	end func()
}

func (e endingAlarms) Begin(ctx context.Context, account, device string, channel int, by string) (context.Context, func(), error) {
	e.end()
	return e.memoryAlarms.Begin(ctx, account, device, channel, by)
}

// TestWhatWasMissedEndsWithTheSession: a client that reads slowly gets no more of it.
func TestWhatWasMissedEndsWithTheSession(t *testing.T) {
	m := newMemoryAlarms(t)
	hub := live.New(live.Config{Log: noLog{}, Logins: noLogins{}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- hub.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var end func()
	w := newWorld(t, func(cfg *Config) { cfg.Alarms, cfg.Live = endingAlarms{m, func() { end() }}, hub })
	who := w.person("rita")
	end = func() {
		if err := w.vault.EndSession(t.Context(), who.token); err != nil {
			t.Error(err)
		}
	}
	s := httptest.NewServer(w.server.Handler())
	defer s.Close()
	f := &following{t: t, url: s.URL, token: who.token}
	f.last = "0-" + m.HideNumber(who.id, 0)
	for _, id := range []string{"one", "two", "three"} {
		m.raise(t, who.id, id, 1)
	}
	for at, _ := m.LastAlarm(t.Context()); ; { // until the hub knows of them
		l, err := m.Hub.Listen(t.Context(), who.id, &at)
		if err == nil {
			l.Close()
			break
		}
	}
	f.open()
	got, err := io.ReadAll(f.body)
	if err != nil || !strings.Contains(string(got), `"one"`) || strings.Contains(string(got), `"two"`) {
		t.Errorf("%s, %v", got, err)
	}
}

// TestAlarmsAreResumed: a client that comes back gets the alarms that it missed, once, and
// one that had only a position those from now on.
func TestAlarmsAreResumed(t *testing.T) {
	m := newMemoryAlarms(t)
	hub := live.New(live.Config{Log: noLog{}, Logins: noLogins{}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- hub.Run(ctx) }()
	defer func() { cancel(); <-done }()
	w := newWorld(t, func(cfg *Config) { cfg.Alarms, cfg.Live = m, hub })
	who := w.person("rita")
	token, rita := who.token, who.id
	s := httptest.NewServer(w.server.Handler())
	defer s.Close()
	f := &following{t: t, url: s.URL, token: token}
	f.open()
	m.raise(t, rita, "one", 1)
	m.raise(t, "somebody", "other", 1)
	if got := f.until("one"); len(got) != 0 {
		t.Errorf("before the first: %v", got)
	}
	f.close()
	m.raise(t, rita, "two", 1)
	m.raise(t, rita, "three", 1)
	f.open()
	m.raise(t, rita, "four", 1)
	if got := f.until("four"); len(got) != 2 || got[0] != "two" || got[1] != "three" {
		t.Errorf("missed: %v", got)
	}
	f.close()
	f.last, _, _ = strings.Cut(f.last, "-")
	m.raise(t, rita, "five", 1)
	for at, _ := m.LastAlarm(t.Context()); ; {
		l, err := m.Hub.Listen(t.Context(), rita, &at)
		if err == nil {
			l.Close()
			break
		}
	}
	f.open()
	m.raise(t, rita, "six", 1)
	if got := f.until("six"); len(got) != 0 {
		t.Errorf("after a position alone: %v", got)
	}
	f.close()
	f.last = "0-99999"
	f.open()
	for {
		line, err := f.body.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "event: ") {
			if line != "event: reset\n" {
				t.Errorf("after a number that is none yet: %q", line)
			}
			break
		}
	}
	f.close()
	for _, id := range []string{"1-", "-1", "1-" + strings.Repeat("A", 32), "1-" + strings.Repeat("0", 33), "1-x", "1-99999999999999999999", "1-1-1"} {
		w.wantProblem(w.do("GET", eventsPath, token, nil, "Last-Event-ID", id), 400, "invalid_header")
	}
}
