package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"
)

// Config is what a Service is made of. Every field without a default is needed.
type Config struct {
	Log           Log
	Sealer        Sealer
	Passwords     Passwords
	Cameras       Cameras
	StreamSecrets StreamSecrets
	Domains       Domains
	// Shares finds the shares of a device that was removed. Without it they end
	// when the policy gets there.
	Shares SharesOfDevice
	// Requests remembers Idempotency-Keys; the default remembers the last ones of
	// this process.
	Requests Requests
	// Quotas bounds what one account may have and do; nil: nothing does.
	Quotas Quotas

	// Now is the clock; the default is time.Now.
	Now func() time.Time
	// NewID makes the id of an account; the default is a UUID of version 7.
	NewID func() string
	// Random is where names and secrets come from; the default is crypto/rand.
	Random io.Reader
	// Logger is told what could not be tidied up after a command; the default
	// discards it.
	Logger *slog.Logger
}

// Service is the use cases. It may be used by many at once, also by several
// processes over one log, and keeps nothing but who waits for whom.
type Service struct {
	log           Log
	sealer        Sealer
	passwords     Passwords
	cameras       Cameras
	streamSecrets StreamSecrets
	domains       Domains
	shares        SharesOfDevice
	clock         func() time.Time
	newID         func() string
	random        io.Reader
	logger        *slog.Logger
	requests      Requests
	quotas        Quotas // nil for none
	queues        queues
	patience      time.Duration // of a command, before it is busy
}

// New makes a Service. It reports every fault of the configuration together.
func New(cfg Config) (*Service, error) {
	var faults []error
	need := func(name string, there bool) {
		if !there {
			faults = append(faults, fmt.Errorf("%s is missing", name))
		}
	}
	need("Log", cfg.Log != nil)
	need("Sealer", cfg.Sealer != nil)
	need("Passwords", cfg.Passwords != nil)
	need("Cameras", cfg.Cameras != nil)
	need("StreamSecrets", cfg.StreamSecrets != nil)
	need("Domains", cfg.Domains != nil)
	if len(faults) > 0 {
		return nil, fmt.Errorf("configuring the use cases: %w", errors.Join(faults...))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Requests == nil {
		cfg.Requests = &recentRequests{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{
		log: cfg.Log, sealer: cfg.Sealer, passwords: cfg.Passwords, cameras: cfg.Cameras,
		streamSecrets: cfg.StreamSecrets, domains: cfg.Domains, shares: cfg.Shares, requests: cfg.Requests, quotas: cfg.Quotas,
		clock: cfg.Now, newID: cfg.NewID, random: cfg.Random, logger: cfg.Logger, patience: patience,
	}, nil
}

// now is the time of an event: every store keeps microseconds.
func (s *Service) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }
