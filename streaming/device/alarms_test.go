package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/alert"
	"latchkey/internal/simcamera"
)

func alarmTarget(cam *simcamera.Camera) AlarmTarget {
	return AlarmTarget{
		Username: "admin", Password: "pa55 & <word>",
		ISAPIURL: "http://" + cam.HTTPAddr(), ONVIFURL: "http://" + cam.HTTPAddr() + "/onvif/device_service",
	}
}

// listening listens to a device until the test ends, or stop is called.
func listening(t *testing.T, c *Client, target AlarmTarget) (told chan alert.Alert, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan alert.Alert, 1000), make(chan error, 1)
	go func() {
		done <- c.Alarms(ctx, target, func(list []alert.Alert, _ *time.Location) {
			for _, a := range list {
				told <- a
			}
		})
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return told, stop
}

func wantTold(t *testing.T, told chan alert.Alert, match func(alert.Alert) bool) alert.Alert {
	t.Helper()
	for {
		select {
		case a := <-told:
			if match(a) {
				return a
			}
		case <-time.After(30 * time.Second):
			t.Fatal("it is not told")
		}
	}
}

func soon(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestAlarmsOfADevice: by each protocol, with the right channel, without a wrong password.
func TestAlarmsOfADevice(t *testing.T) {
	for name, change := range map[string]func(*AlarmTarget){
		"ISAPI": func(t *AlarmTarget) { t.ONVIFURL = "" }, "ONVIF": func(t *AlarmTarget) { t.ISAPIURL = "" }, "both": func(*AlarmTarget) {},
	} {
		t.Run(name, func(t *testing.T) {
			cam := startCamera(t, func(cfg *simcamera.Config) { cfg.Heartbeat = 50 * time.Millisecond })
			target := alarmTarget(cam)
			change(&target)
			told, stop := listening(t, newClient(t), target)
			soon(t, "nobody listens", func() bool { return cam.AlarmListeners() == 1 })
			if name == "ONVIF" {
				for range 2 { // how it is now
					if a := wantTold(t, told, func(alert.Alert) bool { return true }); !a.Initial || a.Active {
						t.Errorf("at first: %+v", a)
					}
				}
			}
			cam.RaiseAlarm(2, simcamera.Motion, 100*time.Millisecond)
			a := wantTold(t, told, func(a alert.Alert) bool { return a.Active })
			if a.Channel != 2 || a.Kind != alert.Motion || a.Lasting != (name == "ONVIF") || a.At.IsZero() || a.Unzoned {
				t.Errorf("%+v", a)
			}
			if a := wantTold(t, told, func(a alert.Alert) bool { return !a.Active }); a.Channel != 2 {
				t.Errorf("at its end: %+v", a)
			}
			if err := stop(); kindIn(err) == "" {
				t.Errorf("at the end: %v", err)
			}
			soon(t, "it is not left", func() bool { return cam.AlarmListeners() == 0 && cam.Subscriptions() == 0 })
			if n := cam.WrongPasswords(); n != 0 {
				t.Errorf("%d wrong passwords", n)
			}
		})
	}
}

// TestAWrongPasswordIsSentOnce: and the device is left alone until it is changed.
func TestAWrongPasswordIsSentOnce(t *testing.T) {
	for name, change := range map[string]func(*AlarmTarget){
		"ISAPI": func(t *AlarmTarget) { t.ONVIFURL = "" }, "ONVIF": func(t *AlarmTarget) { t.ISAPIURL = "" },
	} {
		t.Run(name, func(t *testing.T) {
			cam, client := startCamera(t), newClient(t)
			wrong, right := alarmTarget(cam), alarmTarget(cam)
			change(&wrong)
			change(&right)
			wrong.Password = "wrong"
			var now atomic.Pointer[AlarmTarget]
			now.Store(&wrong)
			told := make(chan alert.Alert, 100)
			w := NewAlarmWatch(AlarmWatchConfig{
				Listen: client.Alarms, Every: time.Millisecond,
				Devices:  func(context.Context, string, int) ([]string, error) { return []string{"cam"}, nil },
				Target:   func(context.Context, string) (AlarmTarget, bool, error) { return *now.Load(), true, nil },
				Lease:    func(context.Context, time.Duration) (bool, error) { return true, nil },
				EndLease: func(context.Context) error { return nil },
				Told:     func(_ context.Context, _ string, list []alert.Alert, _ *time.Location) { told <- list[0] },
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Run(ctx) }()
			defer func() { cancel(); <-done }()
			soon(t, "no password is sent", func() bool { return cam.WrongPasswords() == 1 })
			for range 20 {
				w.Changed("cam")
				time.Sleep(5 * time.Millisecond)
			}
			if n := cam.WrongPasswords(); n != 1 {
				t.Errorf("%d wrong passwords", n)
			}
			now.Store(&right)
			w.Changed("cam")
			soon(t, "with the right one nobody listens", func() bool { return cam.AlarmListeners() == 1 })
			cam.RaiseAlarm(1, simcamera.Motion, 50*time.Millisecond)
			wantTold(t, told, func(a alert.Alert) bool { return a.Active })
		})
	}
}

// TestAStreamOutlivesItsBounds: those are of a part, not of the whole.
func TestAStreamOutlivesItsBounds(t *testing.T) {
	part := "--b\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s\r\n"
	event := `<EventNotificationAlert><channelID>1</channelID><eventType>VMD</eventType><eventState>active</eventState></EventNotificationAlert>`
	picture := strings.Repeat("x", 300<<10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/alertStream") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
		for range 10 {
			fmt.Fprintf(w, "--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(picture), picture)
			fmt.Fprintf(w, part, len(event), event)
			w.(http.Flusher).Flush()
		}
	}))
	defer s.Close()
	n := 0
	err := newClient(t).Alarms(t.Context(), AlarmTarget{ISAPIURL: s.URL}, func(list []alert.Alert, _ *time.Location) { n += len(list) })
	if n != 10 || kindIn(err) != NotReachable {
		t.Errorf("%d alarms, %v", n, err)
	}
}

// TestHostileAlarms: whatever a device says, it ends or stays within bounds, and nothing of
// it is in the error.
func TestHostileAlarms(t *testing.T) {
	stream := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/alertStream") {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
			then(w, r)
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"endless lines":     stream(endless("", "secret\r\n")),
		"an endless line":   stream(endless("", "secret")),
		"endless parts":     stream(endless("", "--b\r\nContent-Type: image/jpeg\r\nContent-Length: 8000000\r\n\r\n"+strings.Repeat("x", 8000000)+"\r\n")),
		"an endless header": stream(endless("--b\r\n", "X: secret\r\n")),
		"a page":            func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>secret</html>") },
		"an error":          func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", http.StatusInternalServerError) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://secret.invalid/", http.StatusFound)
		},
		"deep": endless("<Envelope><Body>", "<secret>"),
		"a far subscription": func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			body := map[bool]string{true: `<CreatePullPointSubscriptionResponse><SubscriptionReference><Address>` + strings.Repeat("x", 5000) + `</Address></SubscriptionReference></CreatePullPointSubscriptionResponse>`,
				false: `<GetCapabilitiesResponse><Capabilities><Events><XAddr>http://secret.invalid/e</XAddr></Events></Capabilities></GetCapabilitiesResponse>`}[strings.Contains(string(raw), "CreatePull")]
			fmt.Fprint(w, "<Envelope><Body>"+body+"</Body></Envelope>")
		},
	} {
		for _, by := range []Service{ISAPI, ONVIF} {
			s := httptest.NewServer(handler)
			target := AlarmTarget{ISAPIURL: s.URL}
			if by == ONVIF {
				target = AlarmTarget{ONVIFURL: s.URL}
			}
			client := newClient(t, func(cfg *Config) { cfg.Within = 2 * time.Second })
			err := client.Alarms(t.Context(), target, func(list []alert.Alert, _ *time.Location) { t.Errorf("%s: %+v", name, list) })
			if kindIn(err) == "" || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s by %s: %v", name, by, err)
			}
			s.CloseClientConnections()
			s.Close()
		}
	}
}

// TestPullingGoesOn: over connections that end, a nonce that changes, and a subscription
// that must be told again who it is.
func TestPullingGoesOn(t *testing.T) {
	var pulls, nonces atomic.Int32
	var unsubscribed atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		text := string(raw)
		w.Header().Set("Connection", "close")
		nonce := fmt.Sprint("n", nonces.Load())
		if !strings.Contains(text, "GetSystemDateAndTime") && !strings.Contains(r.Header.Get("Authorization"), `nonce="`+nonce+`"`) {
			w.Header().Set("WWW-Authenticate", `Digest realm="r", qop="auth", algorithm=MD5, nonce="`+nonce+`"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer := func(operation, content string) {
			fmt.Fprint(w, `<s:Envelope xmlns:s="x"><s:Body><`+operation+`Response>`+content+`</`+operation+`Response></s:Body></s:Envelope>`)
		}
		switch {
		case strings.Contains(text, "GetSystemDateAndTime"):
			answer("GetSystemDateAndTime", "<SystemDateAndTime/>")
		case strings.Contains(text, "GetCapabilities"):
			answer("GetCapabilities", "<Capabilities><Events><XAddr>http://10.9.9.9/events</XAddr></Events></Capabilities>")
		case strings.Contains(text, "GetProfiles"):
			answer("GetProfiles", `<Profiles><VideoSourceConfiguration token="c"><SourceToken>v</SourceToken></VideoSourceConfiguration></Profiles>`)
		case strings.Contains(text, "<CreatePullPointSubscription"):
			answer("CreatePullPointSubscription", `<SubscriptionReference><Address>http://10.9.9.9/sub?Idx=7</Address><ReferenceParameters><d:SubscriptionId xmlns:d="urn:axis">4711</d:SubscriptionId></ReferenceParameters></SubscriptionReference>`)
		case r.URL.RequestURI() != "/sub?Idx=7" || !strings.Contains(text, `xmlns:r="urn:axis"`) || !strings.Contains(text, ">4711</r:SubscriptionId>") || !strings.Contains(text, "http://10.9.9.9/sub?Idx=7</a:To>"):
			t.Errorf("%s: %s", r.URL.RequestURI(), text)
		case strings.Contains(text, "<Unsubscribe"):
			unsubscribed.Store(true)
			answer("Unsubscribe", "")
		case strings.Contains(text, "<PullMessages"):
			nonces.Add(1)
			n := pulls.Add(1)
			answer("PullMessages", fmt.Sprintf(`<NotificationMessage><Topic>tns1:VideoSource/MotionAlarm</Topic><Message><Message UtcTime="2026-01-31T10:00:00" PropertyOperation="Changed"><Source><SimpleItem Name="Source" Value="v"/></Source><Data><SimpleItem Name="State" Value="%t"/></Data></Message></Message></NotificationMessage>`, n%2 == 1))
		}
	}))
	defer s.Close()
	told, stop := listening(t, newClient(t), AlarmTarget{Username: "admin", Password: "secret", ONVIFURL: s.URL})
	for range 6 {
		if a := wantTold(t, told, func(alert.Alert) bool { return true }); a.Channel != 1 || a.Kind != alert.Motion || a.Unzoned || a.At.IsZero() {
			t.Errorf("%+v", a)
		}
	}
	if err := stop(); err == nil || !unsubscribed.Load() {
		t.Errorf("%v, unsubscribed %v", err, unsubscribed.Load())
	}
}

// block is many devices of which the calls are noted.
type block struct {
	mu     sync.Mutex
	ids    []string
	calls  map[string][]time.Time
	now    map[string]int
	answer func(n int) error // of the nth call; nil: it lasts
}

func (b *block) watch(most int, lease func() bool) *AlarmWatch {
	return NewAlarmWatch(AlarmWatchConfig{
		Most: most,
		Devices: func(_ context.Context, after string, most int) ([]string, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			from, found := slices.BinarySearch(b.ids, after)
			if found {
				from++
			}
			return slices.Clone(b.ids[from:min(from+most, len(b.ids))]), nil
		},
		Target: func(_ context.Context, id string) (AlarmTarget, bool, error) {
			return AlarmTarget{ISAPIURL: "http://" + id}, id != "none", nil
		},
		Listen: func(ctx context.Context, t AlarmTarget, _ Told) error {
			b.mu.Lock()
			b.calls[t.ISAPIURL] = append(b.calls[t.ISAPIURL], time.Now())
			n := len(b.calls[t.ISAPIURL])
			b.now[t.ISAPIURL]++
			if b.now[t.ISAPIURL] > 1 {
				panic("two conversations with one device")
			}
			b.mu.Unlock()
			var err error = fail(Timeout, ISAPI)
			if b.answer != nil {
				err = b.answer(n)
			} else {
				<-ctx.Done()
			}
			b.mu.Lock()
			b.now[t.ISAPIURL]--
			b.mu.Unlock()
			return err
		},
		Lease:    func(context.Context, time.Duration) (bool, error) { return lease(), nil },
		EndLease: func(context.Context) error { return nil },
	})
}

func (b *block) listened() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, now := range b.now {
		n += now
	}
	return n
}

func newBlock(n int) *block {
	b := &block{calls: map[string][]time.Time{}, now: map[string]int{}}
	for i := range n {
		b.ids = append(b.ids, fmt.Sprintf("cam-%05d", i))
	}
	return b
}

// TestOneProcessListens: the one with the lease, to at most so many devices, and each
// once; to those that went no longer.
func TestOneProcessListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, has := newBlock(1500), atomic.Bool{}
		w := b.watch(1200, has.Load)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		want := func(when string, n int) {
			t.Helper()
			time.Sleep(2 * time.Minute)
			if got := b.listened(); got != n {
				t.Errorf("%s: %d devices are listened to, want %d", when, got, n)
			}
		}
		want("without the lease", 0)
		has.Store(true)
		want("with it", 1200)
		b.mu.Lock()
		b.ids = b.ids[1000:]
		b.mu.Unlock()
		want("after many went", 500)
		has.Store(false)
		want("after the lease was lost", 0)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestTheLeaseLastsWhileDevicesAreLookedAt: that takes longer than the lease.
func TestTheLeaseLastsWhileDevicesAreLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBlock(1200)
		var mu sync.Mutex
		var holder, changes int
		var until time.Time
		lease := func(n int) func() bool {
			return func() bool {
				mu.Lock()
				defer mu.Unlock()
				if holder != n && time.Now().Before(until) {
					return false
				}
				if holder != n {
					holder, changes = n, changes+1
				}
				until = time.Now().Add(leaseLasts)
				return true
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		for n := range 2 {
			w := b.watch(1200, lease(n+1))
			go func() { done <- w.Run(ctx) }()
		}
		time.Sleep(5 * time.Minute)
		if got := b.listened(); got != 1200 || changes != 1 {
			t.Errorf("%d devices are listened to; the lease changed hands %d times", got, changes)
		}
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
}

// TestADeviceThatCannotBeLookedUpHidesNoOther: such as one whose credentials are damaged.
func TestADeviceThatCannotBeLookedUpHidesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBlock(20)
		w := b.watch(1200, func() bool { return true })
		look := w.cfg.Target
		w.cfg.Target = func(ctx context.Context, id string) (AlarmTarget, bool, error) {
			if id == "cam-00003" {
				return AlarmTarget{}, false, errors.New("damaged")
			}
			return look(ctx, id)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		b.mu.Lock()
		b.ids = b.ids[:10]
		b.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if got := b.listened(); got != 9 {
			t.Errorf("%d devices are listened to", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestADeviceThatFailsIsAskedLessAndLess: with a pause that doubles up to a bound.
func TestADeviceThatFailsIsAskedLessAndLess(t *testing.T) {
	for kind, most := range map[Kind]int{NotReachable: 760, Unsupported: 110, WrongPassword: 1} {
		synctest.Test(t, func(t *testing.T) {
			b := newBlock(1)
			b.answer = func(int) error { return fail(kind, ISAPI) }
			w := b.watch(10, func() bool { return true })
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Run(ctx) }()
			time.Sleep(24 * time.Hour)
			b.mu.Lock()
			n := len(b.calls["http://cam-00000"])
			b.mu.Unlock()
			if n > most || n < most/2 {
				t.Errorf("%s: it was asked %d times in a day", kind, n)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// FuzzNotifications: whatever a device answers to a pull, what comes of it is bounded.
func FuzzNotifications(f *testing.F) {
	f.Add([]byte(`<PullMessagesResponse><NotificationMessage><Topic>tns1:RuleEngine/CellMotionDetector/Motion</Topic><Message><Message UtcTime="2026-01-31T10:00:00Z" PropertyOperation="Changed"><Source><SimpleItem Name="VideoSourceConfigurationToken" Value="c"/><SimpleItem Name="Rule" Value="r"/></Source><Data><SimpleItem Name="IsMotion" Value="true"/></Data></Message></Message></NotificationMessage></PullMessagesResponse>`))
	f.Add([]byte(`<PullMessagesResponse><NotificationMessage><Topic>tns1:Device/Trigger/DigitalInput</Topic><Message><Message PropertyOperation="Initialized"/></Message></NotificationMessage></PullMessagesResponse>`))
	f.Add([]byte(`<r><NotificationMessage/><NotificationMessage><Message/></NotificationMessage></r>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		answer, err := parseXML(text)
		if err != nil {
			return
		}
		for _, a := range messages(answer, map[string]int{"config c": 1, "source v": 2}) {
			if a.Channel < 0 || a.Channel > 2 || a.Kind == "" || a.Type == "" || len(a.Type) > 128 || a.Active && a.Initial && !a.Lasting {
				t.Errorf("%+v", a)
			}
		}
		s := &subscription{onvif: &onvif{httpSession: &httpSession{}}}
		if err := s.locate(answer); err == nil && (s.path == "" || len(s.header) > 64<<10) {
			t.Errorf("%q, %d bytes", s.path, len(s.header))
		}
		for token, n := range channelTokens(answer) {
			if n < 1 || n > 512 || len(token) > 1024 {
				t.Errorf("%q is channel %d", token, n)
			}
		}
	})
}
