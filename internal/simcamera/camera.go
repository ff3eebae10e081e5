package simcamera

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/internal/simcamera/h264"
	"latchkey/internal/simcamera/picture"
)

// MaxChannels is how many channels a simulated recorder may have.
const MaxChannels = 16

// MaxFile limits the size of Config.File in bytes: the recording is kept in memory.
const MaxFile = 256 << 20

// Config configures the device. Only RTSP is required.
type Config struct {
	RTSP string // address to listen on, such as 127.0.0.1:0
	HTTP string // address of ISAPI and of the control interface, "" for none
	File string // live pictures from an Annex B H.264 file, "" for drawn ones

	Username string // "" asks for no credentials
	Password string

	Serial   string // default SIM-0001
	Model    string // default LK-SIM-2
	Firmware string // default "V1.0.0 build 260101"
	Channels int    // 1 to MaxChannels, default 2
	Silent   bool   // no sound beside the picture
	Recorder bool   // the channels are cameras that are linked to it
	Fixed    bool   // no pan, tilt and zoom

	// Gaps are times of which nothing is recorded, from the first to before the second, in
	// their order. A player comes from one recording to the next, as recorders do it.
	Gaps [][2]time.Time

	// LockAfter is how many wrong passwords, over all protocols, lock an IP address
	// out; 0: none do.
	LockAfter int

	AlarmEvery time.Duration // motion on channel 1 this often, 0 for never
	Heartbeat  time.Duration // of the alert stream, default 10 s

	// Now is the device's clock, default time.Now. A stream reads it when it begins.
	Now    func() time.Time
	Logger *slog.Logger // default: discards
}

func (cfg Config) withDefaults() Config {
	cfg.Serial = cmp.Or(cfg.Serial, "SIM-0001")
	cfg.Model = cmp.Or(cfg.Model, "LK-SIM-2")
	cfg.Firmware = cmp.Or(cfg.Firmware, "V1.0.0 build 260101")
	cfg.Channels = cmp.Or(cfg.Channels, 2)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 10*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Validate reports all configuration errors together.
func (cfg Config) Validate() error {
	var faults []error
	if _, _, err := net.SplitHostPort(cfg.RTSP); err != nil {
		faults = append(faults, fmt.Errorf("the RTSP address: %w", err))
	}
	if cfg.HTTP != "" {
		if _, _, err := net.SplitHostPort(cfg.HTTP); err != nil {
			faults = append(faults, fmt.Errorf("the HTTP address: %w", err))
		}
	}
	if cfg.Channels < 0 || cfg.Channels > MaxChannels {
		faults = append(faults, fmt.Errorf("%d channels: at most %d", cfg.Channels, MaxChannels))
	}
	if cfg.Username == "" && cfg.Password != "" {
		faults = append(faults, errors.New("a password without a user name"))
	}
	if cfg.LockAfter < 0 {
		faults = append(faults, errors.New("a negative number of wrong passwords"))
	}
	if cfg.AlarmEvery < 0 || cfg.Heartbeat < 0 {
		faults = append(faults, errors.New("a negative period"))
	}
	return errors.Join(faults...)
}

// Camera is a running simulated device. Its methods may be called concurrently.
type Camera struct {
	cfg      Config
	ctx      context.Context
	stop     context.CancelFunc
	channels []*channel
	file     *h264.Recording // what is shown instead of drawings, or nil
	alarms   alarmHub
	pulls    pullPoints
	talk     talkCounter
	stills   atomic.Int64
	lock     lock
	faults   faultState
	tasks    sync.WaitGroup
	done     chan struct{} // closed once everything has stopped

	mu       sync.Mutex
	password string
	rtsp     *rtspServer // nil while the camera is away
	http     *httpServer // nil while away, or without HTTP
	rtspAddr string
	httpAddr string
	closed   bool
	failure  error
}

// channel is one numbered input of the device.
type channel struct {
	number int
	head   *head
	main   *feed
	sub    *feed
}

// Start begins a camera, which listens when Start returns. It runs until ctx ends or
// Close is called.
func Start(ctx context.Context, cfg Config) (*Camera, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("camera: %w", err)
	}
	cfg = cfg.withDefaults()
	file, err := openFile(cfg.File)
	if err != nil {
		return nil, fmt.Errorf("camera: %w", err)
	}

	c := &Camera{cfg: cfg, file: file, password: cfg.Password, done: make(chan struct{}),
		lock: lock{after: cfg.LockAfter}, rtspAddr: cfg.RTSP, httpAddr: cfg.HTTP}
	c.ctx, c.stop = context.WithCancel(ctx)
	for n := 1; n <= cfg.Channels; n++ {
		ch, err := c.newChannel(n)
		if err != nil {
			c.stop()
			return nil, fmt.Errorf("camera: channel %d: %w", n, err)
		}
		c.channels = append(c.channels, ch)
	}
	if err := c.ComeBack(); err != nil {
		c.stop()
		return nil, fmt.Errorf("camera: %w", err)
	}
	c.tasks.Go(c.raiseRegularly)
	go c.shutDown()
	return c, nil
}

func openFile(name string) (*h264.Recording, error) {
	if name == "" {
		return nil, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("opening the recording: %w", err)
	}
	if info.Size() > MaxFile {
		return nil, fmt.Errorf("the recording has %d bytes, more than %d", info.Size(), MaxFile)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the recording: %w", err)
	}
	r, err := h264.ParseAnnexB(data)
	if err != nil {
		return nil, fmt.Errorf("reading the recording %s: %w", name, err)
	}
	return r, nil
}

func (c *Camera) newChannel(number int) (*channel, error) {
	ch := &channel{number: number, head: newHead(number)}
	text := func() picture.Text {
		return picture.Text{Name: cameraName(number), Alarm: c.alarms.active(number)}
	}
	for q, f := range map[quality]**feed{mainStream: &ch.main, subStream: &ch.sub} {
		source, err := c.newFootage(q, ch.head.now, text)
		if err != nil {
			return nil, err
		}
		*f = newFeed(c.ctx, &c.tasks, source, c.cfg.Now)
	}
	return ch, nil
}

func (c *Camera) channel(number int) *channel {
	if number < 1 || number > len(c.channels) {
		return nil
	}
	return c.channels[number-1]
}

// RTSPAddr returns the address of RTSP, also while the camera is away.
func (c *Camera) RTSPAddr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rtspAddr
}

// HTTPAddr returns the address of HTTP, also while the camera is away; "" without HTTP.
func (c *Camera) HTTPAddr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.httpAddr
}

// URL returns the RTSP URL of a channel's live stream, without credentials.
func (c *Camera) URL(channel int, sub bool) string {
	q := mainStream
	if sub {
		q = subStream
	}
	return fmt.Sprintf("rtsp://%s/Streaming/Channels/%d", c.RTSPAddr(), 100*channel+int(q))
}

// Close stops the camera and waits until everything has stopped.
func (c *Camera) Close() error {
	c.stop()
	return c.Wait()
}

// Wait returns once the camera has stopped: nil if that was requested.
func (c *Camera) Wait() error {
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// fail stops the camera for a reason that Wait returns.
func (c *Camera) fail(err error) {
	c.mu.Lock()
	c.failure = errors.Join(c.failure, err)
	c.mu.Unlock()
	c.stop()
}

func (c *Camera) shutDown() {
	<-c.ctx.Done()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.GoAway()
	c.tasks.Wait()
	close(c.done)
}

// credentials returns what a client must present now; without a user name, nothing.
func (c *Camera) credentials() (user, password string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Username, c.password
}
