package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"latchkey/domain/device"
)

// core is shared by the use cases of all areas.
type core struct {
	log      Log
	sealer   Sealer
	requests Requests
	firmware device.FirmwarePolicy
	domains  Domains
	quotas   Quotas // nil for none
	clock    func() time.Time
	newID    func() string
	random   io.Reader
	logger   *slog.Logger
	queues   queues
	folded   foldedStates
	verify   bool          // addresses must be proven
	patience time.Duration // of a command, before it returns busy
}

func newCore(cfg Config) *core {
	return &core{
		log: cfg.Log, sealer: cfg.Sealer, requests: cfg.Requests, firmware: cfg.Firmware, domains: cfg.Domains, quotas: cfg.Quotas,
		clock: cfg.Now, newID: cfg.NewID, random: cfg.Random, logger: cfg.Logger,
		verify: cfg.Verification, folded: foldedStates{most: foldedBytes, few: fewEvents}, patience: patience,
	}
}

// now returns the time of an event: every store keeps microseconds.
func (s *core) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

func (s *core) seal(ctx context.Context, subject, field, plain string) (string, error) {
	sealed, err := s.sealer.Seal(ctx, subject, field, plain)
	if err != nil {
		return "", unavailable(fmt.Errorf("sealing: %w", err))
	}
	return sealed, nil
}
