package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/projections/access"
)

// memoryPacked has one stream, cut into segments.
type memoryPacked struct {
	Packed
	sub      bool
	err      error
	playlist func(context.Context) ([]byte, error)
	segment  []byte
	closed   chan struct{} // of many
}

func (m *memoryPacked) Segments(_ context.Context, _ ids.Device, _ int, sub bool, permitted func() bool) (PackedSegments, error) {
	m.sub = sub
	if m.err != nil || !permitted() {
		return nil, m.err
	}
	return m, nil
}

func (m *memoryPacked) Playlist(ctx context.Context) ([]byte, error) {
	if m.playlist != nil {
		return m.playlist(ctx)
	}
	return []byte("#EXTM3U\n"), nil
}

func (m *memoryPacked) File(name string) ([]byte, bool) { return m.segment, name == "0.m4s" }

func (m *memoryPacked) Close() { m.closed <- struct{}{} }

// hlsVillage has a recipient with live view, and an index that can be revoked.
func hlsVillage(t *testing.T) (v *village, m *memoryPacked, x *revocable, start func(p person, query string) answer) {
	t.Helper()
	m, x = &memoryPacked{segment: []byte("segment"), closed: make(chan struct{}, 100)}, &revocable{}
	var ended func(context.Context)
	v = newVillage(t, func(c *Config) {
		*x = newRevocable(c.Access.(index))
		c.Access, c.Sessions, c.Packed = *x, endings{c.Sessions, &ended}, m
	})
	ended = v.server.SessionsEnded
	v.accept()
	t.Cleanup(v.server.stop) // viewers end
	return v, m, x, func(p person, query string) answer {
		return v.do("POST", "/api/v1/devices/"+v.device+"/channels/1/hls"+query, p.token, nil)
	}
}

func playlistIn(t *testing.T, a answer) string {
	t.Helper()
	var started struct{ Playlist string }
	if err := json.Unmarshal(a.body, &started); err != nil || started.Playlist != a.Header.Get("Location")+"/index.m3u8" {
		t.Fatalf("%s, at %s: %v", a.body, a.Header.Get("Location"), err)
	}
	return started.Playlist
}

// TestHLS: a viewer is where its answer says, for its session alone, until its end.
func TestHLS(t *testing.T) {
	v, m, _, start := hlsVillage(t)
	a := v.wantStatus(start(v.recipient, "?stream=sub"), 201)
	playlist := playlistIn(t, a)
	segment := strings.TrimSuffix(playlist, "index.m3u8") + "0.m4s"
	if !m.sub {
		t.Error("the sub stream is not asked for")
	}
	for path, want := range map[string]string{playlist: "application/vnd.apple.mpegurl", segment: "video/mp4"} {
		a := v.wantStatus(v.do("GET", path, v.recipient.token, nil), 200)
		if got := a.Header.Get("Content-Type"); got != want || a.Header.Get("Cache-Control") != "no-store" || len(a.body) == 0 {
			t.Errorf("%s: %v %s", path, a.Header, a.body)
		}
		for _, p := range []person{v.owner, v.stranger} {
			v.wantProblem(v.do("GET", path, p.token, nil), 404, "viewer_not_found")
		}
	}
	v.wantProblem(v.do("GET", strings.Replace(segment, "0.m4s", "1.m4s", 1), v.recipient.token, nil), 404, "not_found")
	v.wantProblem(v.do("DELETE", a.Header.Get("Location"), v.owner.token, nil), 404, "viewer_not_found")
	v.wantStatus(v.do("DELETE", a.Header.Get("Location"), v.recipient.token, nil), 204)
	<-m.closed
	v.wantProblem(v.do("GET", playlist, v.recipient.token, nil), 404, "viewer_not_found")
	v.wantProblem(v.do("DELETE", a.Header.Get("Location"), v.recipient.token, nil), 404, "viewer_not_found")
	if n := len(v.server.uses.list()); n != 0 {
		t.Errorf("%d uses are left", n)
	}
}

// TestHLSRefusals: each has its code, and leaves nothing behind.
func TestHLSRefusals(t *testing.T) {
	v, m, x, start := hlsVillage(t)
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{{&Unplayable{Codec: "JPEG"}, 409, "stream_not_playable"}, {&DeviceFault{Reason: "not_reachable"}, 502, "stream_not_available"}} {
		m.err = fmt.Errorf("%w: rtsp://192.0.2.10", c.err)
		if a := start(v.recipient, ""); strings.Contains(string(a.body), "192.0.2.10") {
			t.Errorf("%s", a.body)
		} else {
			v.wantProblem(a, c.status, c.code)
		}
	}
	m.err = nil
	v.wantProblem(start(v.stranger, ""), 404, "device_not_found")
	v.wantProblem(start(v.recipient, "?stream=third"), 400, "invalid_parameter")
	v.wantStatus(start(person{}, ""), 401)
	playlist := playlistIn(t, v.wantStatus(start(v.recipient, ""), 201))
	m.playlist = func(context.Context) ([]byte, error) { return nil, ErrStreamEnded }
	v.wantProblem(v.do("GET", playlist, v.recipient.token, nil), 502, "stream_not_available")
	for range maxViewersOfAccount - 1 {
		v.wantStatus(start(v.recipient, ""), 201)
	}
	v.wantProblem(start(v.recipient, ""), 429, "too_many_viewers")
	x.revoke()
	if err := v.server.uses.await(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.wantProblem(start(v.recipient, ""), 403, "privilege_missing")
	v.wantProblem(v.do("GET", playlist, v.recipient.token, nil), 403, "privilege_missing")
	if n := len(v.server.uses.list()); n != 0 {
		t.Errorf("%d uses are left", n)
	}
	v.server.crowd.mu.Lock()
	defer v.server.crowd.mu.Unlock()
	if v.server.crowd.all != 0 {
		t.Errorf("%d viewers are counted", v.server.crowd.all)
	}
}

// endedByOwner ends the viewer, and not its answers, as the index does.
func (s *Server) endedByOwner() {
	for _, u := range s.uses.list() {
		if u.of.Transport == transportHLS {
			u.revoked(access.Ended)
		}
	}
}

// TestHLSWaitsForASegmentNoLongerThanItMay: whoever waits for the first segment when the
// viewer is ended is told why.
func TestHLSWaitsForASegmentNoLongerThanItMay(t *testing.T) {
	for how, c := range map[string]struct {
		status int
		code   string
	}{"revoked": {403, "privilege_missing"}, "ended": {403, "viewer_ended"}, "logged out": {401, "unauthenticated"}, "deleted": {404, "viewer_not_found"}} {
		t.Run(how, func(t *testing.T) {
			v, m, x, start := hlsVillage(t)
			waits := make(chan struct{})
			m.playlist = func(ctx context.Context) ([]byte, error) { close(waits); <-ctx.Done(); return nil, ctx.Err() }
			a := v.wantStatus(start(v.recipient, ""), 201)
			got := make(chan answer, 1)
			go func() { got <- v.do("GET", playlistIn(t, a), v.recipient.token, nil) }()
			<-waits
			switch how {
			case "revoked":
				x.revoke()
			case "ended":
				v.server.endedByOwner()
			case "logged out":
				v.wantStatus(v.do("DELETE", "/api/v1/sessions/current", v.recipient.token, nil), 204)
			case "deleted":
				v.wantStatus(v.do("DELETE", a.Header.Get("Location"), v.recipient.token, nil), 204)
			}
			v.wantProblem(<-got, c.status, c.code)
		})
	}
}

// TestASegmentStopsArriving: whoever does not read a segment on and loses the privilege, the
// session or the viewer gets nothing more of it than what was under way.
func TestASegmentStopsArriving(t *testing.T) {
	const stopsAfter, underWay = 20_000, 256 << 10
	for _, how := range []string{"revoked", "ended", "logged out", "deleted"} {
		t.Run(how, func(t *testing.T) {
			v, m, x, start := hlsVillage(t)
			m.segment = bytes.Repeat([]byte{1}, 4<<20)
			a := v.wantStatus(start(v.recipient, ""), 201)
			conn := v.dial(false)
			defer conn.Close()
			fmt.Fprintf(conn, "GET %s/0.m4s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n", a.Header.Get("Location"), v.recipient.token)
			if _, err := io.CopyN(io.Discard, conn, stopsAfter); err != nil {
				t.Fatal(err)
			}
			v.server.settled(t)
			switch how {
			case "revoked":
				x.revoke()
			case "ended":
				v.server.endedByOwner()
			case "logged out":
				v.wantStatus(v.do("DELETE", "/api/v1/sessions/current", v.recipient.token, nil), 204)
			case "deleted":
				v.wantStatus(v.do("DELETE", a.Header.Get("Location"), v.recipient.token, nil), 204)
			}
			if err := v.server.uses.await(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(v.server.uses.list()); n != 0 {
				t.Errorf("%d uses are left", n)
			}
			n, err := io.Copy(io.Discard, conn)
			if n > underWay || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%d more bytes arrive, then %v", n, err)
			}
		})
	}
}

// TestHLSEndsByItself: fifteen seconds after the last request, and not while one is answered.
func TestHLSEndsByItself(t *testing.T) {
	v := &hlsViewer{use: &using{}, asked: make(chan struct{}, 1), answers: map[*using]struct{}{}}
	ctx, cancel := context.WithCancel(t.Context())
	if u := (&using{}); !v.begin(ctx, u) || !v.asking() {
		t.Error("an answer that is being made is not known")
	}
	cancel()
	select {
	case <-v.asked:
	case <-time.After(time.Minute):
		t.Error("the end of an answer is not known")
	}
	if v.asking() {
		t.Error("an answer that has been made is known")
	}
	v.end(false)
	if v.begin(t.Context(), &using{}) {
		t.Error("an answer begins after the end")
	}
}
