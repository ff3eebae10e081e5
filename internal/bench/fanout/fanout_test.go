package fanout

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Run()
	os.Exit(m.Run())
}

func TestStampComesBack(t *testing.T) {
	want := stamp{number: 1 << 30, sent: time.Now().UnixNano(), size: keySize, key: true}
	got, ok := parseStamp(want.append(nil))
	if !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
	if _, ok := parseStamp([]byte{keyPicture, 1}); ok {
		t.Error("a stamp that is cut off was read")
	}
}

// TestViewerCountsWhatIsLost: a viewer sees every picture of which a packet is missing.
func TestViewerCountsWhatIsLost(t *testing.T) {
	p, v := newPacker(), &Viewer{}
	for n := range 10 {
		picture := p.next(time.Now())
		packets := runs(picture)
		switch n {
		case 3: // the whole picture is missing
			continue
		case 5: // its second packet is missing
			first := 4 + len(packets[0].bytes(0))
			second := 4 + len(packets[0].bytes(1))
			picture = append(picture[:first:first], picture[first+second:]...)
		}
		if err := v.stream(picture[:100], time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := v.stream(picture[100:], time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if v.whole != 8 || v.lost != 2 {
		t.Errorf("%d whole, %d lost", v.whole, v.lost)
	}
	if v.first.IsZero() || len(v.late) != 8 {
		t.Errorf("first %v, %d delays", v.first, len(v.late))
	}
}

func (r run) bytes(n int) []byte { return make([]byte, r.packets[n].Len) }

// TestEveryWayThroughTheFloor: two viewers for each transport get whole pictures from the
// camera, through the floor, in processes of their own.
func TestEveryWayThroughTheFloor(t *testing.T) {
	cert, key := certificate(t)
	camera, err := StartCamera()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(camera.Stop)
	floor, err := StartFloor(camera.Address, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(floor.Stop)
	crowd, err := NewCrowd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(crowd.Close)
	straight, err := crowd.Join(t.Context(), Target{Address: camera.Address, Path: "/cam/1", Over: TCP})
	if err != nil {
		t.Fatal(err)
	}
	var targets []Target
	for _, over := range []Transport{TCP, UDP, RTSPS, TCP, UDP, RTSPS} {
		address := floor.Address
		if over == RTSPS {
			address = floor.Secure
		}
		targets = append(targets, Target{Address: address, Path: "/cam/1", Over: over})
	}
	viewers, err := crowd.JoinAll(t.Context(), targets)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return !slices.ContainsFunc(crowd.See(viewers), func(s Seen) bool { return s.First.IsZero() })
	})
	w, err := crowd.Measure(t.Context(), floor.PID, viewers, straight, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if w.Whole == 0 || w.CPU == 0 || w.Gbit == 0 || Memory(floor.PID) == 0 {
		t.Errorf("%+v", w)
	}
	eventually(t, func() bool { return Connections(floor.Address) == 4 }) // one may be closing
	crowd.Leave(viewers[:1])
	eventually(t, func() bool { return Connections(floor.Address) == 3 })
	floor.Stop()
	eventually(t, func() bool {
		seen := crowd.See([]*Viewer{viewers[3], viewers[5]})
		return seen[0].Ended && seen[1].Ended
	})
}

func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := WriteCertificate(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it does not come true")
		}
	}
}
