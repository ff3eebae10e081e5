package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/device"
)

// Config has the dependencies of the use cases. Every field without a default is
// required.
type Config struct {
	Log           Log
	Sealer        Sealer
	Passwords     Passwords
	Cameras       Cameras
	StreamSecrets StreamSecrets
	Domains       Domains
	// Prover connects to devices; nil: they are added unproven.
	Prover Prover
	// ProofOff is set if devices are added without connecting to them.
	ProofOff bool
	// Firmware is the oldest firmware with which a device may be shared; the default
	// allows every firmware.
	Firmware device.FirmwarePolicy
	// Shares finds the shares of a removed device. Without it they end when the policy
	// gets to them.
	Shares SharesOfDevice
	// ShareCodes keeps the codes with which people share; without it there are none.
	ShareCodes ShareCodes
	// Asked counts the requests for access to a device; nil: they are not limited.
	Asked AskedFor
	// Requests remembers commands by their idempotency keys; the default remembers the
	// most recent ones of this process.
	Requests Requests
	// Quotas limits what one account may have and do; nil: no limits.
	Quotas Quotas

	// Verification makes an address prove nothing until a code that was sent to it came
	// back; it needs Codes and Messenger.
	Verification bool
	Codes        Codes
	Messenger    Messenger
	// Allowances bound messages to holders of addresses; nil: they are not bounded.
	Allowances Allowances
	// Holdings and Eraser are for closing accounts; without them none is closed.
	Holdings HoldingsOf
	Eraser   Eraser
	// Webhooks keeps webhooks and calls them; without it there are none.
	Webhooks Webhooks
	// Registration is who may register; "": nobody, as Closed. Invited needs Invitations.
	Registration Mode
	Invitations  Invitations

	// TransferTTL is how long an offer to hand a device over can be accepted; the default
	// is DefaultTransferTTL.
	TransferTTL time.Duration
	// ReclaimWait is how long the owner of a device can object to a claim before it can be
	// completed; the default is DefaultReclaimWait.
	ReclaimWait time.Duration
	// Claims counts the claims to a device; nil: they are not limited.
	Claims ClaimsTo

	// Now is the clock; the default is time.Now.
	Now func() time.Time
	// NewID returns the id of a new account; the default is a UUID of version 7.
	NewID func() string
	// Random is the source of names and secrets; the default is crypto/rand.
	Random io.Reader
	// Logger receives what could not be cleaned up after a command; the default discards
	// it.
	Logger *slog.Logger
}

// UseCases are the use cases, by area. They are safe for concurrent use, also by several
// processes on one log.
type UseCases struct {
	Accounts    *Accounts
	Devices     *Devices
	Shares      *Shares
	StreamKeys  *StreamKeys
	Revocations *Revocations
	Told        *Told
}

// New returns the use cases. It reports all configuration errors together.
func New(cfg Config) (UseCases, error) {
	if err := cfg.validate(); err != nil {
		return UseCases{}, err
	}
	cfg.setDefaults()
	c := newCore(cfg)
	n := names{core: c, domains: cfg.Domains}
	u := UseCases{
		Accounts: &Accounts{core: c, passwords: cfg.Passwords, codes: cfg.Codes, messenger: cfg.Messenger, allowances: cfg.Allowances, mode: cfg.Registration, invitations: cfg.Invitations},
		Devices: &Devices{core: c, cameras: cfg.Cameras, prover: cfg.Prover, unproven: cfg.ProofOff, shares: cfg.Shares, asked: cfg.Asked, names: n,
			passwords: cfg.Passwords, messenger: cfg.Messenger, allowances: cfg.Allowances, transferTTL: cfg.TransferTTL, reclaimWait: cfg.ReclaimWait, claims: cfg.Claims},
		Shares:      &Shares{core: c, names: n, codes: cfg.ShareCodes},
		StreamKeys:  &StreamKeys{core: c, secrets: cfg.StreamSecrets},
		Revocations: &Revocations{core: c, cameras: cfg.Cameras, secrets: cfg.StreamSecrets, passwords: cfg.Passwords},
		Told:        &Told{core: c},
	}
	u.Accounts.devices, u.Accounts.holdings, u.Accounts.eraser = u.Devices, cfg.Holdings, cfg.Eraser
	u.Accounts.webhooks = cfg.Webhooks
	return u, nil
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
	need("Codes", !cfg.Verification || cfg.Codes != nil)
	need("Invitations", cfg.Registration != Invited || cfg.Invitations != nil)
	need("Messenger", !cfg.Verification || cfg.Messenger != nil)
	if len(faults) > 0 {
		return fmt.Errorf("configuring the use cases: %w", errors.Join(faults...))
	}
	return nil
}

func (cfg *Config) setDefaults() {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.TransferTTL == 0 {
		cfg.TransferTTL = DefaultTransferTTL
	}
	if cfg.ReclaimWait == 0 {
		cfg.ReclaimWait = DefaultReclaimWait
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
	if cfg.ShareCodes == nil {
		cfg.ShareCodes = noCodes{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
}
