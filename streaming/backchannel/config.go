package backchannel

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"latchkey/domain/ids"
	"latchkey/streaming/device"
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// Codec is what a camera plays: G.711 at 8 kHz, one channel.
type Codec string

// The codecs.
const (
	PCMU Codec = "PCMU" // µ-law
	PCMA Codec = "PCMA" // A-law
)

// ErrNone is returned for a channel that has no back channel.
var ErrNone = errors.New("the camera has no back channel")

// CodecError is returned if a camera takes only a codec that is not passed through.
type CodecError struct{ Name string } // "" if it is none that we know

func (e *CodecError) Error() string {
	if e.Name == "" {
		return "the camera takes no G.711 sound"
	}
	return "the camera takes only " + e.Name + " sound"
}

// CameraError is why a camera did not say what it takes: it is not reached, or refuses.
type CameraError struct{ cause error }

func (e *CameraError) Error() string {
	return "asking a camera what sound it takes: " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *CameraError) Unwrap() error { return e.cause }

// Source is where a channel is talked to. None of it may be logged or reach a viewer.
type Source struct {
	URL, ISAPIURL      string // of its main stream, and of its device; "" for none
	Username, Password string
	// Certificate is that of rtsps and https, as the owner has confirmed it; zero: it must
	// be valid.
	Certificate rtspclient.Fingerprint
}

// Sources returns the sources of channels, or ErrNone.
type Sources interface {
	Source(ctx context.Context, device ids.Device, channel int) (Source, error)
}

// ISAPI talks to devices by ISAPI; device.Client implements it.
type ISAPI interface {
	TalkCodec(ctx context.Context, t device.TalkTarget) (device.TalkCodec, error)
	Talk(ctx context.Context, t device.TalkTarget) (*device.Talk, error)
	HangUp(ctx context.Context, t device.TalkTarget) error
}

// Config configures Lines. Sources, Contact and ISAPI are required.
type Config struct {
	Sources Sources
	// Contact connects to a device within its budget; see upstream.Pool.
	Contact func(ctx context.Context, device ids.Device, address string, talk func(context.Context, upstream.DialFunc) error) error
	ISAPI   ISAPI
	Notes   Notes        // nil: what is left open after a kill stays
	Logger  *slog.Logger // discards
}

// Lines are the lines of all channels.
type Lines struct {
	cfg    Config
	opener func(ctx context.Context, at place, codec Codec) (mouth, error) // open

	ctx        context.Context // ends with Close
	end        context.CancelFunc
	chases     sync.WaitGroup
	retryAfter time.Duration

	mu     sync.Mutex
	lines  map[place]*line
	offers map[place]*offer
	held   map[place]*held
}

// place is a channel of a device.
type place struct {
	device  ids.Device
	channel int
}

// New returns lines of which none is open. What an earlier process left open is closed.
func New(cfg Config) *Lines { return newLines(cfg, retryAfter) }

func newLines(cfg Config, retryAfter time.Duration) *Lines {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Lines{cfg: cfg, retryAfter: retryAfter, lines: map[place]*line{}, offers: map[place]*offer{}, held: map[place]*held{}}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.opener = l.open
	l.recover()
	return l
}

const (
	// within limits the opening of a line, and the questions about it.
	within = 10 * time.Second
	// offerFor is how long it is remembered what a channel takes, and noneFor that it takes
	// nothing: somebody may be changing that.
	offerFor, noneFor = 10 * time.Minute, time.Minute
	// maxOffers limits of how many channels it is.
	maxOffers = 4096
)
