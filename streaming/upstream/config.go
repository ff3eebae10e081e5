package upstream

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/domain/ids"
)

// Config configures a Pool. Cameras and Privileges are required.
type Config struct {
	Cameras    Cameras
	Privileges Privileges

	// Allow is called with each address that a camera's name resolves to, before it is
	// dialed. Nil allows only unicast addresses that are not link-local.
	Allow func(netip.Addr) error

	Now     func() time.Time // time.Now
	Logger  *slog.Logger     // discards
	Metrics prometheus.Registerer
	// Private receives the metrics that reveal why cameras were not reached: with them,
	// addresses can be probed from here. Nil: they are not kept.
	Private prometheus.Registerer

	// Reached is called with the result of each dial of a device's camera: "" if it plays,
	// otherwise one of a fixed set of short reasons. It must not block. It may be nil.
	Reached func(device ids.Device, reason string)
	// Dropped is called when a stream breaks off that was pulled from a device's camera, or
	// published by it, with one of the same reasons. It must not block. It may be nil.
	Dropped func(device ids.Device, reason string)
	// Unpublished is called when a publication of a device has ended, none replaces it, and no
	// other stream of the device plays. silent: nothing came any more. It must not block, nor
	// call the pool. It may be nil.
	Unpublished func(device ids.Device, silent bool)

	CloseAfter   time.Duration // how long an upstream outlives its last lease: 10 s, at least 0.2 s
	DialTimeout  time.Duration // from dialing a camera to its response to PLAY: 10 s
	SilenceLimit time.Duration // an upstream that sends nothing for this long is dead: 12 s
	WriteTimeout time.Duration // a camera that accepts no request for this long is disconnected: 5 s
	CheckEvery   time.Duration // how often every device is checked again, in addition to Recheck: 1 s

	// How often cameras are dialed for the account that owns them, and how many at once
	// for it and for all.
	DialBurst        int           // 64: the channels of a recorder after a restart
	DialEvery        time.Duration // one more each 500 ms
	MaxDialsPerOwner int           // 16, and fewer when few slots are left for all
	MaxDials         int           // 256
}

// withDefaults sets defaults and reports all errors.
func (c Config) withDefaults() (Config, error) {
	var faults []error
	if c.Cameras == nil {
		faults = append(faults, errors.New("Cameras is required"))
	}
	if c.Privileges == nil {
		faults = append(faults, errors.New("Privileges is required"))
	}
	if c.Allow == nil {
		c.Allow = allowUnicast
	}
	if c.Reached == nil {
		c.Reached = func(ids.Device, string) {}
	}
	if c.Dropped == nil {
		c.Dropped = func(ids.Device, string) {}
	}
	if c.Unpublished == nil {
		c.Unpublished = func(ids.Device, bool) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value   *time.Duration
		missing time.Duration
	}{
		{&c.CloseAfter, 10 * time.Second}, {&c.DialTimeout, 10 * time.Second}, {&c.SilenceLimit, 12 * time.Second},
		{&c.WriteTimeout, 5 * time.Second}, {&c.CheckEvery, time.Second}, {&c.DialEvery, 500 * time.Millisecond},
	} {
		if *d.value == 0 {
			*d.value = d.missing
		}
	}
	for _, n := range []struct {
		value   *int
		missing int
	}{
		{&c.DialBurst, 64}, {&c.MaxDialsPerOwner, 16}, {&c.MaxDials, 256},
	} {
		if *n.value == 0 {
			*n.value = n.missing
		}
	}
	return c, errors.Join(faults...)
}

func allowUnicast(a netip.Addr) error {
	if a = a.Unmap(); a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return errors.New("cameras may not be dialed at this address")
	}
	return nil
}
