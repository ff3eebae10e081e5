package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"latchkey/eventstore"
	"latchkey/internal/app"
	"latchkey/internal/pause"
	"latchkey/projections"
)

// vaultKeeper maintains the vault while the service runs: it advances the mark, records
// the number of revocations, removes forgotten data from the files, and sweeps.
type vaultKeeper struct {
	opened  *opened
	devices *app.Devices
	shares  *app.Accounts // ends what should not be accepted any more
	runner  *projections.Runner
	logger  *slog.Logger
	// alone: no other process writes to this log. Entries that the vault had when it was
	// opened, and that the read models do not list, are then orphans.
	alone bool

	before  vaultContents // the vault's content when it was opened
	swept   time.Time     // zero before the first sweep
	settled time.Time     // when staged cameras were last settled
	missing string        // what was last reported
	noted   time.Time     // when the use of sessions was last recorded
	taken   uint64        // as it was last remembered
	remains bool          // it was last reported that something forgotten is in the files
}

const (
	keepFirst  = 50 * time.Millisecond
	keepEvery  = time.Second
	sweepEvery = time.Hour
	// settleEvery limits how long a device is without its camera after a crash of the
	// database, which undoes the last confirmations, while this process continues.
	settleEvery = 5 * time.Second
	// noteEvery is how often the use of sessions is recorded.
	noteEvery = 30 * time.Second
	// settledAfter is how old a secret must be before it counts as nobody's: far
	// longer than any command takes that would make it somebody's.
	settledAfter = 10 * time.Minute
)

// vaultContents are ids that the vault has something for.
type vaultContents struct {
	at               time.Time
	keys             []string // stream keys
	cameras, account map[string]bool
}

// guardedLog accepts no event until the vault was compared with the log, and records that
// the mark of the vault has to be advanced.
type guardedLog struct {
	appLog
	opened *opened
}

func (l guardedLog) Append(ctx context.Context, stream string, expected int64, events []app.Pending) (eventstore.Position, error) {
	if l.opened.unmatched.Load() {
		return 0, fmt.Errorf("appending to %s: %w: the vault has not been compared with the log yet", stream, eventstore.ErrUnavailable)
	}
	if l.opened.descriptors.Few() && slices.ContainsFunc(events, func(e app.Pending) bool { return !e.TakesAway }) {
		return 0, fmt.Errorf("appending to %s: %w: the last file descriptors are reserved for revocations", stream, eventstore.ErrUnavailable)
	}
	position, err := l.appLog.Append(ctx, stream, expected, events)
	if err == nil {
		l.opened.appended.Store(true)
	}
	return position, err
}

// Run returns when the context ends, or with an error if the vault and the log do not
// belong together.
func (k *vaultKeeper) Run(ctx context.Context) error {
	k.opened.vault.MayRemain()
	for pause.For(ctx, k.interval()) {
		k.scrub(ctx)
		k.noteUses(ctx)
		k.noteStreamUses(ctx)
		if err := k.keep(ctx); err != nil && ctx.Err() == nil {
			if misfit(err) {
				return err
			}
			k.logger.Debug("vault maintenance failed; retrying", "error", err)
			continue
		}
		if time.Since(k.swept) >= sweepEvery && k.runner.Health().Ready {
			k.sweep(ctx)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := errors.Join(k.advance(last), k.remember(last), k.opened.vault.NoteUses(last), k.opened.vault.NoteStreamUses(last)); err != nil {
		k.logger.Warn("vault maintenance failed during shutdown", "error", err)
	}
	return nil
}

// scrub removes forgotten data from the vault's files. If it is blocked for a while, such
// as by a backup, it is retried.
func (k *vaultKeeper) scrub(ctx context.Context) {
	err := k.opened.vault.Scrub(ctx)
	switch {
	case err == nil:
		k.remains = false
	case ctx.Err() == nil && !k.remains:
		k.remains = true
		k.logger.Info("forgotten data stays in the vault's files for now; retrying", "error", err)
	}
}

// noteUses periodically records when sessions were used.
func (k *vaultKeeper) noteUses(ctx context.Context) {
	if time.Since(k.noted) < noteEvery {
		return
	}
	k.noted = time.Now()
	if err := k.opened.vault.NoteUses(ctx); err != nil && ctx.Err() == nil {
		k.logger.Debug("the use of sessions could not be recorded", "error", err)
	}
}

// noteStreamUses records when devices were used: a minute of each use is written once.
func (k *vaultKeeper) noteStreamUses(ctx context.Context) {
	if err := k.opened.vault.NoteStreamUses(ctx); err != nil && ctx.Err() == nil {
		k.logger.Debug("the use of devices could not be recorded", "error", err)
	}
}

// interval is the time until the next look: short until the first sweep, so that
// what the vault lacks is reported as soon as the read models can tell.
func (k *vaultKeeper) interval() time.Duration {
	if k.swept.IsZero() {
		return keepFirst
	}
	return keepEvery
}

// misfit reports whether the vault and the log do not belong together.
func misfit(err error) bool {
	return errors.Is(err, errOtherVault) || errors.Is(err, eventstore.ErrLogCut) || errors.Is(err, eventstore.ErrOtherLog) ||
		errors.Is(err, eventstore.ErrOtherEpoch) || errors.Is(err, eventstore.ErrNoIdentity)
}

func (k *vaultKeeper) keep(ctx context.Context) error {
	if k.opened.unmatched.Load() {
		if err := k.opened.matchVault(ctx, k.logger); err != nil {
			return err
		}
		k.opened.unmatched.Store(false)
	}
	if err := k.remember(ctx); err != nil { // first: the mark of an older copy says since when
		return err
	}
	if err := k.advance(ctx); err != nil {
		return err
	}
	if time.Since(k.settled) < settleEvery {
		return nil
	}
	k.settled = time.Now()
	return k.settle(ctx)
}

// remember records outside the vault how much was revoked in it, if that has changed.
func (k *vaultKeeper) remember(ctx context.Context) error {
	taken, err := k.opened.vault.Taken(ctx)
	if err != nil || taken == k.taken {
		return err
	}
	if err := k.opened.compareTaken(ctx, k.logger); err != nil {
		return err
	}
	k.taken, err = k.opened.vault.Taken(ctx)
	return err
}

// advance advances the mark to the end of the log, if something was appended since the
// last time and the log still has the event of the mark.
func (k *vaultKeeper) advance(ctx context.Context) error {
	if k.opened.unmatched.Load() || !k.opened.appended.Swap(false) {
		return nil
	}
	err := k.advanceNow(ctx)
	if err != nil {
		k.opened.appended.Store(true)
	}
	return err
}

func (k *vaultKeeper) advanceNow(ctx context.Context) error {
	m, err := k.opened.vault.Mark(ctx)
	if err != nil {
		return err
	}
	if err := k.opened.holds(ctx, m); err != nil {
		return err
	}
	err = k.opened.log.Tail(ctx, 1, func(r eventstore.Recorded) bool {
		m.Position, m.Event = r.Position, r.ID.String()
		return false
	})
	if err != nil {
		return err
	}
	return k.opened.vault.AdvanceMark(ctx, m)
}

// sweep deletes orphans, completes interrupted commands, and reports missing entries.
// Failures are retried at the next sweep.
func (k *vaultKeeper) sweep(ctx context.Context) {
	k.swept = time.Now()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"dropping expired sessions", k.opened.vault.DropExpiredSessions},
		{"dropping what limits have counted", k.opened.vault.DropSpentLimits},
		{"dropping expired invitations", k.opened.vault.DropExpiredInvitations},
		{"dropping expired codes", k.opened.vault.DropExpiredCodes},
		{"dropping expired codes of shares", k.opened.vault.DropExpiredShareCodes},
		{"forgetting messages that were sent", k.opened.vault.DropOutgoing},
		{"forgetting notices that were sent", k.opened.vault.DropNotices},
		{"dropping old uses of devices", k.opened.vault.DropOldStreamUses},
		{"dropping old alarms", k.dropAlarms},
		{"ending what was accepted by lost addresses", k.shares.EndStranded},
		{"ending what was accepted twice", k.shares.EndDoubles},
		{"settling staged cameras", k.settle},
		{"comparing the vault with the read models", k.compare},
	} {
		if err := step.do(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("vault maintenance failed; retrying", "what", step.what, "error", err)
		}
	}
}

func (k *vaultKeeper) settle(ctx context.Context) error {
	list, err := k.opened.vault.StagedCameras(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, s := range list {
		faults = append(faults, k.devices.SettleStaged(ctx, s.Device, s.Command, s.At))
	}
	return errors.Join(faults...)
}

// contents lists the content of the vault.
func (p *opened) contents(ctx context.Context) (vaultContents, error) {
	c := vaultContents{at: time.Now()}
	cameras, err := p.vault.Cameras(ctx)
	if err != nil {
		return c, err
	}
	accounts, err := p.vault.Accounts(ctx)
	if err != nil {
		return c, err
	}
	c.cameras, c.account = setOf(cameras), setOf(accounts)
	c.keys, err = p.vault.StreamKeys(ctx)
	return c, err
}

func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

// compare compares the vault with the read models: entries that they do not list are
// deleted, and missing ones are reported.
func (k *vaultKeeper) compare(ctx context.Context) error {
	now, err := k.opened.contents(ctx)
	if err != nil {
		return err
	}
	listed, err := k.opened.store.Known(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(k.dropCameras(ctx, now, listed), k.dropKeys(ctx, listed)); err != nil {
		return err
	}
	k.before = now
	return k.report(ctx, listed)
}

// dropCameras deletes the cameras of devices that were removed, by the log.
func (k *vaultKeeper) dropCameras(ctx context.Context, c vaultContents, listed projections.Known) error {
	devices := setOf(listed.Devices)
	for id := range c.cameras {
		if devices[id] {
			continue
		}
		live, err := k.devices.Live(ctx, id)
		if err == nil && !live {
			err = k.opened.vault.ForgetCamera(ctx, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dropKeys deletes the secrets of stream keys that are not listed and are too old to
// belong to a command in progress.
func (k *vaultKeeper) dropKeys(ctx context.Context, listed projections.Known) error {
	if !k.alone && time.Since(k.before.at) < settledAfter {
		return nil
	}
	keys := setOf(listed.StreamKeys)
	for _, key := range k.before.keys {
		if keys[key] {
			continue
		}
		if err := k.opened.vault.ForgetStreamSecret(ctx, key); err != nil {
			return err
		}
	}
	k.alone = false // from now on our own commands may be in progress
	return nil
}

// report logs once what is missing from the vault, by the read models. They were read
// first: entries added since then are not missing.
func (k *vaultKeeper) report(ctx context.Context, listed projections.Known) error {
	has, err := k.opened.contents(ctx)
	if err != nil {
		return err
	}
	var words []string
	count := func(list []string, has map[string]bool, one, many string) {
		n := 0
		for _, id := range list {
			if !has[id] {
				n++
			}
		}
		switch {
		case n == 1:
			words = append(words, "1 "+one)
		case n > 1:
			words = append(words, fmt.Sprintf("%d %s", n, many))
		}
	}
	count(listed.Accounts, has.account, "account has no password", "accounts have no password")
	count(listed.Devices, has.cameras, "device has no camera", "devices have no camera")
	count(listed.StreamKeys, setOf(has.keys), "stream key has no secret", "stream keys have no secret")
	missing := strings.Join(words, ", ")
	if missing != "" && missing != k.missing {
		k.logger.Warn("the vault is older than the log: " + missing +
			"; people must register such an address again, owners must add such a device again, such keys must be replaced; or put the newer vault back")
	}
	k.missing = missing
	return nil
}
