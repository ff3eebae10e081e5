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

// Config is what the use cases are made of. Every field without a default is needed.
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
	// Requests remembers commands by their idempotency keys; the default remembers
	// the last ones of this process.
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

// UseCases are the use cases, by area. They are safe for concurrent use, also by
// several processes over one log.
type UseCases struct {
	Accounts    *Accounts
	Devices     *Devices
	Shares      *Shares
	StreamKeys  *StreamKeys
	Revocations *Revocations
}

// New makes the use cases. It reports every fault of the configuration together.
func New(cfg Config) (UseCases, error) {
	if err := cfg.validate(); err != nil {
		return UseCases{}, err
	}
	cfg.setDefaults()
	c := newCore(cfg)
	n := names{core: c, domains: cfg.Domains}
	return UseCases{
		Accounts:    &Accounts{core: c, passwords: cfg.Passwords},
		Devices:     &Devices{core: c, cameras: cfg.Cameras, shares: cfg.Shares, names: n},
		Shares:      &Shares{core: c, names: n},
		StreamKeys:  &StreamKeys{core: c, secrets: cfg.StreamSecrets},
		Revocations: &Revocations{core: c, cameras: cfg.Cameras, secrets: cfg.StreamSecrets},
	}, nil
}

func (cfg *Config) validate() error {
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
		return fmt.Errorf("configuring the use cases: %w", errors.Join(faults...))
	}
	return nil
}

func (cfg *Config) setDefaults() {
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
}
