package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"latchkey/domain/ids"
)

// onePicture is a camera that plays one picture and then nothing.
type onePicture struct{ Packed }

func (onePicture) Watch(context.Context, ids.Device, int, bool, func() bool) (PackedViewer, error) {
	return &onePictureViewer{}, nil
}

type onePictureViewer struct{ played bool }

func (v *onePictureViewer) Next(ctx context.Context) (PackedPart, error) {
	if v.played {
		<-ctx.Done()
		return PackedPart{}, ctx.Err()
	}
	v.played = true
	return PackedPart{Fragment: []byte("picture")}, nil
}

func (*onePictureViewer) Close() {}

// dialMSE opens the WebSocket of the village's camera.
func (v *village) dialMSE(ctx context.Context, server string, p person) *websocket.Conn {
	v.t.Helper()
	ws, _, err := websocket.Dial(ctx, strings.Replace(server, "http", "ws", 1)+"/api/v1/devices/"+v.device+"/channels/1/mse",
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + p.token}}})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// endOf reads what is said last over a WebSocket.
func endOf(ctx context.Context, t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	_, data, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var last told
	if err := json.Unmarshal(data, &last); err != nil || last.End == nil {
		t.Fatalf("the last message is %.200s (%v)", data, err)
	}
	return last.End.Code
}

// viewers is how many viewers of fragmented MP4 are counted.
func (s *Server) viewers() int {
	s.crowd.mu.Lock()
	defer s.crowd.mu.Unlock()
	return s.crowd.all
}

// TestMSELimits: an account may watch so many channels, whoever has too many is told so, and
// may watch again when one has ended.
func TestMSELimits(t *testing.T) {
	v := newVillage(t, func(c *Config) { c.Packed = onePicture{} })
	s := httptest.NewServer(v.server.Handler())
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range maxViewersOfAccount {
		if err := v.server.crowd.enter(v.owner.id, ""); err != nil {
			t.Fatal(err)
		}
	}
	if code := endOf(ctx, t, v.dialMSE(ctx, s.URL, v.owner)); code != "too_many_viewers" {
		t.Errorf("one too many is told %q", code)
	}
	v.server.crowd.leave(v.owner.id, "")
	if _, data, err := v.dialMSE(ctx, s.URL, v.owner).Read(ctx); err != nil || string(data) != "picture" {
		t.Errorf("after one has ended: %q (%v)", data, err)
	}
	if n := v.server.viewers(); n != maxViewersOfAccount {
		t.Errorf("%d viewers are counted, want %d", n, maxViewersOfAccount)
	}
}

// muchPicture is a camera that plays without end.
type muchPicture struct {
	Packed
	closed chan struct{}
}

func (m muchPicture) Watch(context.Context, ids.Device, int, bool, func() bool) (PackedViewer, error) {
	return m, nil
}

func (muchPicture) Next(ctx context.Context) (PackedPart, error) {
	return PackedPart{Fragment: make([]byte, 1<<20)}, ctx.Err()
}

func (m muchPicture) Close() { close(m.closed) }

// TestMSEEndsIfNobodyReads: a browser that takes nothing for five seconds is not waited for,
// and nothing is left of it.
func TestMSEEndsIfNobodyReads(t *testing.T) {
	t.Parallel()
	camera := muchPicture{closed: make(chan struct{})}
	v := newVillage(t, func(c *Config) { c.Packed = camera })
	address := v.serving()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v.dialMSE(ctx, "http://"+address, v.owner)
	select {
	case <-camera.closed:
	case <-ctx.Done():
		t.Fatal("it is still shown")
	}
	if err := v.server.uses.await(ctx); err != nil {
		t.Fatal(err)
	}
	for v.server.viewers() > 0 || len(v.server.uses.list()) > 0 {
		if ctx.Err() != nil {
			t.Fatalf("%d viewers are counted, and %d uses are left", v.server.viewers(), len(v.server.uses.list()))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestMSEEndsWithASessionThatEndsElsewhere: another process ends a session, or its time
// does, and nobody tells this one. The viewer ends, and is told why.
func TestMSEEndsWithASessionThatEndsElsewhere(t *testing.T) {
	v := newVillage(t, func(c *Config) { c.Packed = onePicture{} })
	s := httptest.NewServer(v.server.Handler())
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ws := v.dialMSE(ctx, s.URL, v.owner)
	if _, data, err := ws.Read(ctx); err != nil || string(data) != "picture" {
		t.Fatalf("the picture: %q (%v)", data, err)
	}
	if err := v.vault.EndSession(ctx, v.owner.token); err != nil {
		t.Fatal(err)
	}
	if code := endOf(ctx, t, ws); code != "unauthenticated" {
		t.Errorf("it is told %q", code)
	}
}
