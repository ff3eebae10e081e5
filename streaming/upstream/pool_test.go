package upstream

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"

	"latchkey/domain/ids"
	"latchkey/streaming/cameratest"
)

func TestConfigFaultsAreToldTogether(t *testing.T) {
	_, err := New(Config{})
	for _, want := range []string{"Cameras", "Privileges"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell of %q", err, want)
		}
	}
}

// TestOnePullForAll: those who come together share one dial, and the camera is left
// some time after the last lease.
func TestOnePullForAll(t *testing.T) {
	camera := (&cameratest.Camera{}).Start(t)
	h := open(t, camera)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var leases []*Lease
	for range 20 {
		wg.Go(func() {
			l, err := h.acquire("dev-1", 1)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			leases = append(leases, l)
		})
	}
	wg.Wait()
	if n := camera.Dials.Load(); n != 1 {
		t.Errorf("the camera was dialled %d times", n)
	}
	for n, l := range leases {
		if l.Flow() != leases[0].Flow() {
			t.Errorf("lease %d has a flow of its own", n)
		}
		if n > 0 {
			l.Release()
			l.Release() // counts once
		}
	}
	time.Sleep(leastCloseAfter + 300*time.Millisecond)
	if n := camera.Open.Load(); n != 1 {
		t.Errorf("%d connections with a lease that is left, want 1", n)
	}
	leases[0].Release()
	eventually(t, "the camera is left", func() bool { return camera.Open.Load() == 0 })
	if err := h.ask("dev-1", 1); err != nil {
		t.Errorf("coming back: %v", err)
	}
}

// TestCamerasAsTheyAre: with Basic, with Digest, and one that refuses TCP.
func TestCamerasAsTheyAre(t *testing.T) {
	for name, camera := range map[string]*cameratest.Camera{
		"basic":    {User: "admin", Password: "p@ss w/rd", Methods: []auth.VerifyMethod{auth.VerifyMethodBasic}},
		"digest":   {User: "admin", Password: "p@ss:w/rd", Methods: []auth.VerifyMethod{auth.VerifyMethodDigestMD5}},
		"UDP only": {NoTCP: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, camera.Start(t))
			q, _ := h.reading(t, "dev-1", 1)
			if err := receive(t, q, 30); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPolicyIsAskedOfTheResolvedAddress: and nothing is dialled that it denies.
func TestPolicyIsAskedOfTheResolvedAddress(t *testing.T) {
	camera := (&cameratest.Camera{}).Start(t)
	var mu sync.Mutex
	var asked []netip.Addr
	h := open(t, camera, func(c *Config) {
		c.Allow = func(a netip.Addr) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, a)
			return errors.New("no")
		}
	})
	_, port, _ := net.SplitHostPort(camera.Addr)
	h.sources.set("dev-1", 1, Source{URL: "rtsp://localhost:" + port + "/x"})
	var away *AwayError
	if err := h.ask("dev-1", 1); !errors.As(err, &away) {
		t.Errorf("%v, want that the camera is away", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) == 0 || !asked[0].IsLoopback() || camera.Dials.Load() != 0 {
		t.Errorf("asked of %v, dialled %d times", asked, camera.Dials.Load())
	}
}

func TestBackoffGrows(t *testing.T) {
	var b backoff
	now := time.Unix(1e9, 0)
	for n, want := range []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000, 30000, 30000, 30000, 30000} {
		want *= time.Millisecond
		b.failed(now)
		if wait := b.until.Sub(now); wait < want/2 || wait > want {
			t.Errorf("failure %d: %v, want %v to %v", n+1, wait, want/2, want)
		}
	}
}

// TestCamerasAreDialledAgainWhileTheDatabaseIsAway, as they were last known;
// those of a removed device are not.
func TestCamerasAreDialledAgainWhileTheDatabaseIsAway(t *testing.T) {
	camera := (&cameratest.Camera{}).Start(t)
	h := open(t, camera)
	h.sources.set("dev-11", 1, sourceOf(camera))
	for _, device := range []string{"dev-1", "dev-11"} {
		if err := h.ask(ids.Device(device), 1); err != nil {
			t.Fatalf("%s: %v", device, err)
		}
	}
	eventually(t, "the cameras are left", func() bool { return camera.Open.Load() == 0 })
	h.sources.setBug(func() error { return errors.New("the database is away") })
	for _, device := range []string{"dev-1", "dev-11"} {
		if err := h.ask(ids.Device(device), 1); err != nil {
			t.Errorf("%s while the database is away: %v", device, err)
		}
	}
	h.removeDevice(t, "dev-1")
	for device, want := range map[string]bool{"dev-1": false, "dev-11": true} {
		if got := h.remembered(ids.Device(device)); got != want {
			t.Errorf("the camera of %s is remembered: %v, want %v", device, got, want)
		}
	}
	h.sources.setBug(func() error { return ErrNoStream })
	eventually(t, "the cameras are left again", func() bool { return camera.Open.Load() == 0 })
	if err := h.ask("dev-11", 1); !errors.Is(err, ErrNoStream) {
		t.Errorf("a camera that is gone: %v", err)
	}
	if h.remembered("dev-11") {
		t.Error("a camera that is gone is remembered")
	}
}

// TestPanicOfCameras: a bug where cameras are looked up costs one dial.
func TestPanicOfCameras(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	h.sources.setBug(func() error { panic("a bug") })
	var away *AwayError
	if err := h.ask("dev-1", 1); !errors.As(err, &away) {
		t.Errorf("%v, want that the camera is away", err)
	}
}

// TestTheEndOfThePool ends dials and flows, and nothing is dialled after it.
func TestTheEndOfThePool(t *testing.T) {
	described, goOn := make(chan struct{}, 9), make(chan struct{})
	slow := &cameratest.Camera{Hold: func() { described <- struct{}{}; <-goOn }}
	slow.Start(t)
	defer close(goOn)
	camera := (&cameratest.Camera{}).Start(t)
	h := open(t, camera)
	h.sources.set("slow", 1, sourceOf(slow))
	q, _ := h.reading(t, "dev-1", 1)
	dialled := make(chan error)
	go func() { dialled <- h.ask("slow", 1) }()
	<-described
	h.shut()
	if err := <-dialled; !errors.Is(err, ErrLeft) {
		t.Errorf("the dial: %v", err)
	}
	if err := receive(t, q, 2000); err == nil {
		t.Error("packets come after the end")
	}
	eventually(t, "the camera is left", func() bool { return camera.Open.Load() == 0 })
	var away *AwayError
	if err := h.ask("dev-1", 1); !errors.As(err, &away) {
		t.Errorf("after the end: %v", err)
	}
	if n := camera.Dials.Load(); n != 1 {
		t.Errorf("%d dials, want 1", n)
	}
}
