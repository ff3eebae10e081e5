package api

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

func init() {
	openapi3filter.RegisterBodyDecoder("image/jpeg", openapi3filter.FileBodyDecoder)
}

// fakeCameras are devices for the API.
type fakeCameras struct {
	picture    func(ctx context.Context) ([]byte, error)
	recordings func(within privilege.Interval) (Recorded, error)
	streams    func() (ChannelStreams, error)
}

func (f *fakeCameras) Recordings(_ context.Context, _ ids.Device, _ int, within privilege.Interval) (Recorded, error) {
	return f.recordings(within)
}

func (f *fakeCameras) Streams(context.Context, ids.Device, int, func() bool) (ChannelStreams, error) {
	return f.streams()
}

func (f *fakeCameras) Seen(ids.Device, int) (ChannelStreams, bool) {
	if f.streams == nil {
		return ChannelStreams{}, false
	}
	s, err := f.streams()
	return s, err == nil
}

func (f *fakeCameras) Picture(ctx context.Context, _ ids.Device, _ int) ([]byte, error) {
	return f.picture(ctx)
}

// revocable is an index whose permits can all be revoked at once.
type revocable struct {
	index
	permits *access.Permits
	gone    *atomic.Bool
}

func newRevocable(x index) revocable {
	r := revocable{index: x, gone: &atomic.Bool{}}
	r.permits = access.NewPermits(revocableRules{rules{x}, r.gone}, nil, nil)
	return r
}

func (r revocable) Acquire(use access.Use, revoked func(access.Reason)) (*access.Permit, access.Verdict) {
	return r.permits.Acquire(use, revoked)
}

func (r revocable) Check(account ids.Account, device ids.Device, channel int, p privilege.Set, now time.Time) access.Verdict {
	if r.gone.Load() {
		return access.Forbidden
	}
	return r.index.Check(account, device, channel, p, now)
}

func (r revocable) revoke() {
	r.gone.Store(true)
	r.permits.Changed(access.Change{})
}

type revocableRules struct {
	rules
	gone *atomic.Bool
}

func (r revocableRules) Pair(account ids.Account, device ids.Device) access.Pair {
	return revocablePair{r.rules.Pair(account, device), r.gone}
}

type revocablePair struct {
	access.Pair
	gone *atomic.Bool
}

func (p revocablePair) Check(channel int, want privilege.Set, now time.Time) access.Standing {
	if p.gone.Load() {
		return access.Standing{Verdict: access.Forbidden}
	}
	return p.Pair.Check(channel, want, now)
}

const somePicture = "\xff\xd8 a picture"

// TestSnapshot: whoever may view live gets a picture, and nobody else; the owner alone is
// told why there is none.
func TestSnapshot(t *testing.T) {
	cams := &fakeCameras{picture: func(context.Context) ([]byte, error) { return []byte(somePicture), nil }}
	v := newVillage(t, func(c *Config) { c.Cameras = cams })
	v.accept()
	path := "/api/v1/devices/" + v.device + "/channels/1/snapshot"
	for _, p := range []person{v.owner, v.recipient} {
		a := v.wantStatus(v.do("GET", path, p.token, nil), 200)
		if string(a.body) != somePicture || a.Header.Get("Content-Type") != "image/jpeg" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Length") != "12" {
			t.Errorf("%q, %v", a.body, a.Header)
		}
	}
	v.wantProblem(v.do("GET", path, v.stranger.token, nil), 404, "device_not_found")
	v.wantProblem(v.do("GET", strings.Replace(path, v.device, v.spare, 1), v.recipient.token, nil), 404, "device_not_found")
	v.wantProblem(v.do("GET", strings.Replace(path, v.device, "nothing", 1), v.owner.token, nil), 404, "device_not_found")
	v.wantProblem(v.do("GET", strings.Replace(path, "/1/", "/2/", 1), v.owner.token, nil), 404, "device_not_found")
	for _, channel := range []string{"0", "512", "x", "-1"} {
		v.wantProblem(v.do("GET", strings.Replace(path, "/1/", "/"+channel+"/", 1), v.owner.token, nil), 404, "not_found")
	}
	v.changed(v.do("PUT", v.path("/devices/", v.device), v.owner.token, grant(v.device, "playback", "ptz")))
	v.wantProblem(v.do("GET", path, v.recipient.token, nil), 403, "privilege_missing")
	v.changed(v.do("PUT", v.path("/devices/", v.device), v.owner.token, grant(v.device, "live_view")))

	cams.picture = func(context.Context) ([]byte, error) {
		return nil, &DeviceFault{Reason: "wrong_password", RetryAfter: 90 * time.Second}
	}
	told := v.do("GET", path, v.owner.token, nil)
	if p := v.wantProblem(told, 502, "snapshot_not_available"); !strings.Contains(p.Detail, "password") || told.Header.Get("Retry-After") != "90" {
		t.Errorf("the owner is told %q, %v", p.Detail, told.Header)
	}
	if p := v.wantProblem(v.do("GET", path, v.recipient.token, nil), 502, "snapshot_not_available"); strings.Contains(p.Detail, "password") {
		t.Errorf("the recipient is told %q", p.Detail)
	}
	v.server.cfg.Cameras = nil
	v.wantProblem(v.do("GET", path, v.owner.token, nil), 502, "snapshot_not_available")
}

// TestStreams: whoever may view live is told what the streams are.
func TestStreams(t *testing.T) {
	cams := &fakeCameras{streams: func() (ChannelStreams, error) {
		return ChannelStreams{
			Main: ChannelStream{Pulled: true, SeenAt: time.Unix(1e9, 0), Video: &VideoStream{Codec: "H264", Profile: "High", FrameRate: 24.99999, GOP: 2 * time.Second, GOPFrames: 50}},
			Sub:  &ChannelStream{Audio: &AudioStream{Codec: "PCMA", SampleRate: 8000, Channels: 1}},
		}, nil
	}}
	v := newVillage(t, func(c *Config) { c.Cameras = cams })
	v.accept()
	path := "/api/v1/devices/" + v.device + "/channels/1/streams"
	const want = `{"main":{"pulled":true,"seen_at":"2001-09-09T01:46:40Z","video":{"b_frames":false,"codec":"H264",` +
		`"frame_rate":25,"gop_frames":50,"gop_seconds":2,"gop_too_long":false,"profile":"High","varying_gop":false}},"sub":` +
		`{"audio":{"channels":1,"codec":"PCMA","sample_rate":8000},"pulled":false}}`
	for _, p := range []person{v.owner, v.recipient} {
		if a := v.wantStatus(v.do("GET", path, p.token, nil), 200); strings.TrimSpace(string(a.body)) != want {
			t.Errorf("%s", a.body)
		}
	}
	v.wantProblem(v.do("GET", path, v.stranger.token, nil), 404, "device_not_found")
	v.changed(v.do("PUT", v.path("/devices/", v.device), v.owner.token, grant(v.device, "playback")))
	v.wantProblem(v.do("GET", path, v.recipient.token, nil), 403, "privilege_missing")
	cams.streams = func() (ChannelStreams, error) { return ChannelStreams{}, &DeviceFault{Reason: "not_reachable"} }
	v.wantProblem(v.do("GET", path, v.owner.token, nil), 502, "stream_not_available")
}

// TestARevokedSnapshot: a picture that comes after the privilege has gone is not sent, the
// device is not waited for, and a command waits until that is so.
func TestARevokedSnapshot(t *testing.T) {
	asked, asking := make(chan struct{}), make(chan struct{})
	cams := &fakeCameras{picture: func(ctx context.Context) ([]byte, error) {
		close(asked)
		<-ctx.Done()
		<-asking
		return []byte(somePicture), nil
	}}
	var x revocable
	v := newVillage(t, func(c *Config) {
		x = newRevocable(c.Access.(index))
		c.Cameras, c.Access = cams, x
	})
	v.accept()
	got := make(chan answer)
	go func() {
		got <- v.do("GET", "/api/v1/devices/"+v.device+"/channels/1/snapshot", v.recipient.token, nil)
	}()
	<-asked
	x.revoke()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if v.server.uses.await(ctx) == nil {
		t.Error("the answer had not ended")
	}
	close(asking)
	v.wantProblem(<-got, 403, "privilege_missing")
	if err := v.server.uses.await(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(v.server.uses.list()); n != 0 {
		t.Errorf("%d uses are left", n)
	}
}

// endings are sessions whose ends end their uses, as the service has them.
type endings struct {
	Sessions
	ended *func(context.Context)
}

func (e endings) EndSession(ctx context.Context, token string) error {
	err := e.Sessions.EndSession(ctx, token)
	(*e.ended)(ctx)
	return err
}

// TestAUseEndsWithItsSession: whoever waits for a camera when the session ends gets nothing
// of it, and the command that ends the session waits until that is so.
func TestAUseEndsWithItsSession(t *testing.T) {
	for _, path := range []string{"/snapshot", "/recordings?date=2026-01-31", "/streams", "/ptz/presets", "/ptz/status"} {
		t.Run(path, func(t *testing.T) {
			asked, tell := make(chan struct{}), make(chan struct{})
			wait := func() { close(asked); <-tell }
			cams := &fakeCameras{
				picture:    func(context.Context) ([]byte, error) { wait(); return []byte(somePicture), nil },
				recordings: func(privilege.Interval) (Recorded, error) { wait(); return Recorded{}, nil },
				streams:    func() (ChannelStreams, error) { wait(); return ChannelStreams{}, nil },
			}
			var ended func(context.Context)
			v := newVillage(t, func(c *Config) {
				c.Cameras, c.PTZ, c.Sessions = cams, waitingPTZ{&memoryPTZ{}, wait}, endings{c.Sessions, &ended}
			})
			ended = v.server.SessionsEnded
			thief := v.owner.token
			got, out := make(chan answer, 1), make(chan answer, 1)
			go func() { got <- v.do("GET", "/api/v1/devices/"+v.device+"/channels/1"+path, thief, nil) }()
			<-asked
			go func() { out <- v.do("DELETE", "/api/v1/sessions/current", thief, nil) }()
			select {
			case a := <-out:
				t.Errorf("the command answered %d while the request was waiting", a.StatusCode)
			case <-time.After(20 * time.Millisecond):
			}
			close(tell)
			v.wantProblem(<-got, 401, "unauthenticated")
			v.wantStatus(<-out, 204)
			if n := len(v.server.uses.list()); n != 0 {
				t.Errorf("%d uses are left", n)
			}
		})
	}
}

// waitingPTZ waits before it tells something.
type waitingPTZ struct {
	*memoryPTZ
	wait func()
}

func (p waitingPTZ) Presets(ctx context.Context, u PTZUse) ([]PTZPreset, error) {
	p.wait()
	return p.memoryPTZ.Presets(ctx, u)
}

func (p waitingPTZ) Status(ctx context.Context, u PTZUse) (PTZStatus, error) {
	p.wait()
	return p.memoryPTZ.Status(ctx, u)
}

// TestCutBeforeTheFirstByte: whoever loses the privilege after the last look and before
// anything was sent is told so, and gets nothing of the camera.
func TestCutBeforeTheFirstByte(t *testing.T) {
	v := newVillage(t)
	for _, c := range []struct {
		loggedOut bool
		status    int
	}{{true, 401}, {false, 503}} {
		w := httptest.NewRecorder()
		a := &outgoing{ResponseWriter: w, server: v.server, req: &request{id: "1"}}
		u := &using{of: access.Use{Subject: access.Subject{Account: ids.Account(v.owner.id)}, Device: ids.Device(v.device), Channel: 1, Privilege: privilege.LiveView}, cancel: func() {}, answer: a, uses: &v.server.uses, done: make(chan struct{})}
		a.uses = append(a.uses, u)
		v.server.uses.add(u)
		u.stop(c.loggedOut)
		a.Header().Set("Content-Length", "12")
		a.WriteHeader(200)
		_, _ = a.Write([]byte(somePicture))
		a.end()
		if w.Code != c.status || strings.Contains(w.Body.String(), "picture") || w.Header().Get("Content-Length") != "" {
			t.Errorf("%d, %v: %s", w.Code, w.Header(), w.Body)
		}
		if n := len(v.server.uses.list()); n != 0 {
			t.Errorf("%d uses are left", n)
		}
	}
}

// TestWhatIsCutIsNotWritten: between the check and the last byte.
func TestWhatIsCutIsNotWritten(t *testing.T) {
	gone := &atomic.Bool{}
	all := &uses{}
	u := &using{cancel: func() {}, uses: all, done: make(chan struct{})}
	permit, verdict := access.NewPermits(allowing{gone}, nil, nil).Acquire(access.Use{Device: "d"}, u.revoked)
	if verdict != access.Allowed {
		t.Fatal(verdict)
	}
	u.permit = permit
	var b strings.Builder
	body := &carried{u, []byte("x"), time.Now}
	if n, err := body.WriteTo(&b); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	gone.Store(true)
	permit.Recheck()
	if _, err := body.WriteTo(&b); err == nil || b.String() != "x" {
		t.Errorf("written: %q, %v", b.String(), err)
	}
	u.end()
	u.end()
	if err := all.await(t.Context()); err != nil {
		t.Error(err)
	}
}

// allowing are rules that allow everything until it is gone.
type allowing struct{ gone *atomic.Bool }

func (allowing) Live(time.Time) bool                        { return true }
func (allowing) Pulse() *access.Pulse                       { return nil }
func (allowing) Key(ids.Key) (access.Key, bool)             { return access.Key{}, false }
func (a allowing) Pair(ids.Account, ids.Device) access.Pair { return a }
func (a allowing) Check(int, privilege.Set, time.Time) access.Standing {
	if a.gone.Load() {
		return access.Standing{Verdict: access.NotFound}
	}
	return access.Standing{Verdict: access.Allowed}
}
