package playback

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// The errors of sessions, next to upstream's AwayError. None contains anything of a
// recorder.
var (
	// ErrNoRecorder is returned if a channel has no recordings that can be played.
	ErrNoRecorder = errors.New("the channel has no recordings that can be played")
	// ErrNoReplay is returned if ONVIF replay is wanted and the device has none.
	ErrNoReplay = errors.New("the device has no ONVIF replay")
	// ErrNothing is returned if nothing is recorded in the interval, or nothing of it may
	// be seen: a viewer cannot tell the two apart.
	ErrNothing = errors.New("nothing of the interval can be played")
	// ErrBusy is returned if too much is played from the device, or by the account.
	ErrBusy = errors.New("too many recordings are being played")
	// ErrRecorder is returned if the recorder refuses what it is asked.
	ErrRecorder = errors.New("the recorder refuses to play")
	// ErrClosed is returned by a session that was closed.
	ErrClosed = errors.New("the session is closed")
)

// Config configures Recorders. Sources and Contact are required.
type Config struct {
	Sources Sources
	// Contact is upstream.Pool's: it connects within the budget of the device's owner.
	Contact func(ctx context.Context, device ids.Device, address string, talk func(context.Context, upstream.DialFunc) error) error

	Now    func() time.Time // time.Now
	Logger *slog.Logger     // discards

	PerDevice  int // sessions of one device at a time: 16
	PerAccount int // sessions of one account at a time, of one device: 4
}

// Recorders opens sessions. Use New.
type Recorders struct {
	cfg Config

	mu        sync.Mutex
	ofDevice  map[ids.Device]int
	ofAccount map[accountOf]int
}

type accountOf struct {
	account ids.Account
	device  ids.Device
}

// New returns recorders without a session.
func New(cfg Config) *Recorders {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.PerDevice == 0 {
		cfg.PerDevice = 16
	}
	if cfg.PerAccount == 0 {
		cfg.PerAccount = 4
	}
	return &Recorders{cfg: cfg, ofDevice: map[ids.Device]int{}, ofAccount: map[accountOf]int{}}
}

// Use is what a session is for.
type Use struct {
	Account ids.Account
	Device  ids.Device
	Channel int
	// From and To are what the address names; a zero To is open.
	From, To time.Time
	// Replay is set if the viewer requires ONVIF replay.
	Replay bool
	// Playable decides what may be seen now; see access.Index.
	Playable privilege.Rule
}

// take counts a session, unless there are too many.
func (r *Recorders) take(u Use) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := accountOf{u.Account, u.Device}
	if r.ofDevice[u.Device] >= r.cfg.PerDevice || r.ofAccount[of] >= r.cfg.PerAccount {
		return ErrBusy
	}
	r.ofDevice[u.Device]++
	r.ofAccount[of]++
	return nil
}

func (r *Recorders) give(u Use) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := accountOf{u.Account, u.Device}
	if r.ofDevice[u.Device]--; r.ofDevice[u.Device] == 0 {
		delete(r.ofDevice, u.Device)
	}
	if r.ofAccount[of]--; r.ofAccount[of] == 0 {
		delete(r.ofAccount, of)
	}
}

// Open asks the recorder for what it has of an interval. The session must be closed.
func (r *Recorders) Open(ctx context.Context, u Use) (*Session, error) {
	if err := r.take(u); err != nil {
		return nil, err
	}
	s := newSession(r, u)
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// refusal puts an error of the recorder into one of ours.
func refusal(err error) error {
	var status *rtspclient.StatusError
	var away *upstream.AwayError
	switch {
	case err == nil, errors.As(err, &away), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, ErrNoRecorder), errors.Is(err, ErrNoReplay), errors.Is(err, ErrNothing), errors.Is(err, ErrClosed):
		return err
	case errors.As(err, &status):
		switch status.Code {
		case base.StatusNotFound, base.StatusGone:
			return ErrNothing
		case base.StatusInvalidRange:
			return ErrRange
		}
	}
	return errors.Join(ErrRecorder, err)
}
