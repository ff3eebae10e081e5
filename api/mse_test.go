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

// TestMSEEndsWithASessionThatEndsElsewhere: another process ends a session, or its time
// does, and nobody tells this one. The viewer ends, and is told why.
func TestMSEEndsWithASessionThatEndsElsewhere(t *testing.T) {
	v := newVillage(t, func(c *Config) { c.Packed = onePicture{} })
	s := httptest.NewServer(v.server.Handler())
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, strings.Replace(s.URL, "http", "ws", 1)+"/api/v1/devices/"+v.device+"/channels/1/mse",
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + v.owner.token}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	if _, data, err := ws.Read(ctx); err != nil || string(data) != "picture" {
		t.Fatalf("the picture: %q (%v)", data, err)
	}
	if err := v.vault.EndSession(ctx, v.owner.token); err != nil {
		t.Fatal(err)
	}
	_, data, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var last told
	if err := json.Unmarshal(data, &last); err != nil || last.End == nil || last.End.Code != "unauthenticated" {
		t.Errorf("the last message is %s (%v)", data, err)
	}
}
