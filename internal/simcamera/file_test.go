package simcamera

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"latchkey/internal/simcamera/h264"
	"latchkey/internal/simcamera/picture"
)

// record writes n pictures, beginning at an instant, to a file.
func record(t *testing.T, from time.Time, n int) string {
	t.Helper()
	e, err := h264.NewEncoder(h264.Format{Width: 320, Height: 180, RateNum: 20, RateDen: 1, QP: 24})
	if err != nil {
		t.Fatal(err)
	}
	scene := picture.NewScene(320, 180)
	stream := h264.AppendAnnexB(nil, e.SPS(), e.PPS())
	for i := range n {
		nalu, err := e.Encode(scene.Draw(from.Add(time.Duration(i)*50*time.Millisecond), picture.View{Zoom: 1}, picture.Text{}), false)
		if err != nil {
			t.Fatal(err)
		}
		stream = h264.AppendAnnexB(stream, nalu)
	}
	name := filepath.Join(t.TempDir(), "recording.h264")
	if err := os.WriteFile(name, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAFileIsShownAgainAndAgain(t *testing.T) {
	from := time.Date(2020, 2, 29, 23, 59, 59, 0, time.UTC)
	name := record(t, from, 30)
	c := start(t, func(cfg *Config) { cfg.File = name })
	for i, p := range gray(t, c.URL(1, false), "tcp", 45, 320, 180) {
		at, err := picture.ReadClock(p, 320, 180)
		if err != nil {
			t.Fatal(err)
		}
		if want := from.Add(time.Duration(i%30) * 50 * time.Millisecond).Truncate(100 * time.Millisecond); !at.Equal(want) {
			t.Fatalf("picture %d shows %v, want %v", i, at, want)
		}
	}
}

func TestAFileThatCannotBeShown(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("not a stream"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{bad, filepath.Join(t.TempDir(), "missing")} {
		if c, err := Start(context.Background(), Config{RTSP: "127.0.0.1:0", File: name}); err == nil {
			c.Close()
			t.Errorf("%s was accepted", name)
		}
	}
}
