package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"latchkey/domain/ids"
	"latchkey/streaming/cameratest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var eventually = cameratest.Eventually

// devices are Privileges in memory.
type devices struct {
	mu     sync.Mutex
	sick   bool
	gone   map[ids.Device]bool
	owners map[ids.Device]string // a device that has none here is its own
}

func (d *devices) Live(time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.sick
}

func (d *devices) Gone(device ids.Device, _ time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone[device] && !d.sick
}

func (d *devices) Owner(device ids.Device) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if owner, ok := d.owners[device]; ok {
		return owner
	}
	return string(device)
}

func (d *devices) setSick(sick bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sick = sick
}

func (d *devices) remove(device ids.Device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone[device] = true
}

func (d *devices) own(owner string, device ids.Device) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owners[device] = owner
}

// sources are Cameras in memory, which have main streams only.
type sources struct {
	mu  sync.Mutex
	of  map[string]Source // device/channel
	bug func() error      // called by Camera
}

func (s *sources) setBug(bug func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bug = bug
}

func (s *sources) set(device ids.Device, channel int, src Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[fmt.Sprint(device, "/", channel)] = src
}

func (s *sources) Camera(_ context.Context, device ids.Device, channel int, q Quality) (Source, error) {
	s.mu.Lock()
	src, ok := s.of[fmt.Sprint(device, "/", channel)]
	bug := s.bug
	s.mu.Unlock()
	if bug != nil {
		if err := bug(); err != nil {
			return Source{}, err
		}
	}
	if !ok || q != Main {
		return Source{}, ErrNoStream
	}
	return src, nil
}

func sourceOf(c *cameratest.Camera) Source {
	return Source{URL: c.URL(), Username: c.User, Password: c.Password}
}

// house is a pool with one device, "dev-1", whose channel 1 is the camera.
type house struct {
	*Pool
	devices *devices
	sources *sources
	shut    func() // ends the pool
}

// open starts a house. Change the configuration with the functions.
func open(t testing.TB, camera *cameratest.Camera, change ...func(*Config)) *house {
	t.Helper()
	h := &house{
		devices: &devices{gone: map[ids.Device]bool{}, owners: map[ids.Device]string{}},
		sources: &sources{of: map[string]Source{}},
	}
	if camera != nil {
		h.sources.set("dev-1", 1, sourceOf(camera))
	}
	cfg := Config{
		Cameras: h.sources, Privileges: h.devices,
		Logger:     slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		CloseAfter: 300 * time.Millisecond, Allow: func(netip.Addr) error { return nil },
	}
	for _, f := range change {
		f(&cfg)
	}
	pool, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Pool = pool
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = pool.Run(ctx) }()
	h.shut = func() { stop(); <-ended }
	t.Cleanup(h.shut)
	return h
}

// acquire leases a channel for somebody who may watch as long as the device is not
// gone.
func (h *house) acquire(device ids.Device, channel int) (*Lease, error) {
	permitted := func() bool { return !h.devices.Gone(device, time.Now()) }
	return h.Acquire(context.Background(), Stream{Device: device, Channel: channel}, permitted)
}

// ask leases a channel and gives the lease back.
func (h *house) ask(device ids.Device, channel int) error {
	l, err := h.acquire(device, channel)
	if err != nil {
		return err
	}
	l.Release()
	return nil
}

// reading attaches a queue to the flow of a channel, which stays leased.
func (h *house) reading(t testing.TB, device ids.Device, channel int) (*Queue, *Lease) {
	t.Helper()
	l, err := h.acquire(device, channel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	q := NewQueue(1024, func() {})
	if _, _, err := l.Flow().Attach(q); err != nil {
		t.Fatal(err)
	}
	return q, l
}

// receive takes n packets.
func receive(t testing.TB, q *Queue, n int) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cameratest.Patience)
	defer cancel()
	for range n {
		if _, err := q.Next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// remembered reports whether it is remembered where a stream of the device is.
func (h *house) remembered(device ids.Device) bool {
	_, ok := h.Pool.sources.Get(Stream{Device: device, Channel: 1}.name())
	return ok
}

func (h *house) droppedFor(reason string) float64 {
	var m dto.Metric
	_ = h.metrics.dropped.WithLabelValues(reason).Write(&m)
	return m.GetCounter().GetValue()
}
