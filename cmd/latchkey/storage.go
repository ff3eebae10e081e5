package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"

	"latchkey/eventstore"
	"latchkey/eventstore/node"
	"latchkey/internal/app"
	"latchkey/internal/descriptors"
	"latchkey/internal/notices"
	"latchkey/internal/outbox"
	"latchkey/internal/push"
	"latchkey/internal/vault"
	"latchkey/internal/webhook"
	"latchkey/projections"
)

// storage are the flags of the tools that read a service's data, whether it runs or not.
type storage struct {
	Data       string `default:"latchkey-data" placeholder:"DIR" help:"The service's data folder (${default})."`
	Eventstore string `default:"embedded" placeholder:"TARGET" help:"The log: embedded, unix:///path of a latchkey node, or esdb://... (${default})."`
	Database   string `default:"sqlite" placeholder:"DSN" help:"The read models and the vault: sqlite (in the data folder) or postgres://... (${default})."`
	VaultKey   string `placeholder:"FILE" help:"File with the key of the vault, as the service has it."`
}

// opened are all opened stores of a service.
type opened struct {
	closing sync.Once
	closed  error
	logger  *slog.Logger

	node     *runningNode // nil if another process runs it
	log      *eventstore.Client
	logState *logState
	store    *projections.Store
	vaultDB  *bun.DB // nil if it is the store's
	vault    *vault.Vault

	descriptors  *descriptors.Watch
	registration app.Mode
	holdings     app.HoldingsOf            // nil in a tool
	erased       func(person string) error // records that a person was erased; nil in a tool
	verify       bool                      // addresses must be proven
	outbox       *outbox.Outbox            // nil in a tool, which sends nothing itself
	webhooks     *webhook.Client           // nil in a tool
	hooks        *notices.Hooks            // nil in a tool
	uses         func(context.Context)     // ends uses whose sessions have ended; nil in a tool
	push         *push.Client              // nil in a tool

	unmatched atomic.Bool // the vault has not been compared with the log yet
	appended  atomic.Bool // since the mark of the vault was last advanced
}

// options returns those of a service with the same data.
func (s storage) options() (options, error) {
	return settings{Data: s.Data, HTTP: "127.0.0.1:0", RTSP: "127.0.0.1:0", Eventstore: s.Eventstore, Database: s.Database, VaultKey: s.VaultKey,
		People: People{Verification: required}, MaxStaleness: "5s", SessionTTL: "1h", CloseAfter: "10s", MemoryLimit: "auto", CameraNets: anyNetwork, Logging: Logging{LogLevel: "info", LogFormat: "text"}}.check()
}

// open opens existing data; an empty folder is refused.
func (s storage) open(ctx context.Context, logger *slog.Logger) (*opened, error) {
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.Data); err != nil && (s.Eventstore == "embedded" || s.Database == "sqlite") {
		return nil, fmt.Errorf("opening the data folder: %w", err)
	}
	return o.open(ctx, logger, true)
}

// open opens the log, the read models and the vault. With join, an embedded node that
// another process runs may be used through its socket.
func (o options) open(ctx context.Context, logger *slog.Logger, join bool) (*opened, error) {
	p := &opened{logger: logger, descriptors: descriptors.NewWatch(), verify: o.verify, registration: o.registration}
	if err := p.openAll(ctx, o, logger, join); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// openAll opens the vault first if it is a file: errors of it or its key are then found
// before anything is created.
func (p *opened) openAll(ctx context.Context, o options, logger *slog.Logger, join bool) error {
	if !isPostgres(o.Database) {
		if err := p.findVault(ctx, o, logger); err != nil {
			return err
		}
	}
	target, err := p.startLog(o, logger, join)
	if err != nil {
		return err
	}
	if p.log, err = eventstore.Open(eventstore.Config{Target: target, Logger: logger}); err != nil {
		return err
	}
	if p.logState, err = newLogState(p.log, target); err != nil {
		return err
	}
	p.store, err = projections.Open(ctx, projections.OpenConfig{Database: o.Database, Dir: o.Data, Logger: logger, Proofs: o.verify})
	if err != nil {
		return err
	}
	if isPostgres(o.Database) {
		if err := p.findVault(ctx, o, logger); err != nil {
			return err
		}
	}
	if p.vault == nil {
		return p.makeVault(ctx, o)
	}
	return nil
}

// vaultBase returns the database of the vault.
func (p *opened) vaultBase() *bun.DB {
	if p.vaultDB != nil {
		return p.vaultDB
	}
	return p.store.DB()
}

// startLog starts the embedded node if it is used and returns the target of the log.
func (p *opened) startLog(o options, logger *slog.Logger, join bool) (string, error) {
	if o.Eventstore != "embedded" {
		return o.Eventstore, nil
	}
	socket, err := filepath.Abs(filepath.Join(o.Data, "eventstore.sock"))
	if err != nil {
		return "", fmt.Errorf("resolving the node's socket path: %w", err)
	}
	if join && answers(socket) {
		return "unix://" + socket, nil
	}
	if err := o.refuseNewLog(); err != nil {
		return "", err
	}
	p.node, err = startNode(filepath.Join(o.Data, "log"), socket, logger)
	if errors.Is(err, node.ErrLocked) {
		err = fmt.Errorf("%w: the service is already running on this folder; to share a log between processes, use `latchkey node` and --eventstore unix://", err)
	}
	return "unix://" + socket, err
}

// refuseNewLog refuses to create a log in a data folder that had one: its disk may merely
// not be mounted.
func (o options) refuseNewLog() error {
	dir := filepath.Join(o.Data, "log")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("finding the log: %w", err)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "lost+found" }) {
		return nil
	}
	for _, name := range []string{"vault.db", "projections.db", journalName} {
		if info, err := os.Stat(filepath.Join(o.Data, name)); err == nil && info.Size() > 0 {
			return fmt.Errorf("the log %s is missing, but %s belongs to one: put the log back (is its disk mounted?), or use latchkey restore (nothing was created)", dir, info.Name())
		}
	}
	return nil
}

func answers(socket string) bool {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// closeWithin limits how long closing everything may take.
const closeWithin = 10 * time.Second

// close closes everything open, in reverse order. Closing again returns the first result.
func (p *opened) close() error {
	p.closing.Do(func() {
		done := make(chan error, 1)
		go func() { done <- p.closeAll() }()
		select {
		case p.closed = <-done:
		case <-time.After(closeWithin):
			p.closed = fmt.Errorf("closing the log and the databases: not done within %v", closeWithin)
		}
	})
	return p.closed
}

func (p *opened) closeAll() error {
	var errs []error
	p.scrub()
	if p.vaultDB != nil {
		errs = append(errs, p.vaultDB.Close())
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	if p.logState != nil {
		errs = append(errs, p.logState.close())
	}
	if p.log != nil {
		errs = append(errs, p.log.Close())
	}
	if p.node != nil {
		errs = append(errs, p.node.close())
	}
	return errors.Join(errs...)
}

// scrubWithin limits how long a stop waits until forgotten data is removed from the
// vault's files. The next start removes the rest.
const scrubWithin = 5 * time.Second

func (p *opened) scrub() {
	if p.vault == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrubWithin)
	defer cancel()
	if err := p.vault.ScrubNow(ctx); err != nil {
		p.logger.Warn("forgotten data stays in the vault's files until the next start", "error", err)
	}
}

// redacted returns a connection string without possible secrets.
func redacted(target string) string {
	if scheme, rest, ok := strings.Cut(target, "://"); ok {
		if _, host, ok := strings.Cut(rest, "@"); ok {
			return scheme + "://…@" + host
		}
	}
	return target
}
