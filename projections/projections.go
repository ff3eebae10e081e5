package projections

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/eventstore"
	"latchkey/projections/engine"
)

// readModels lists all read models. A new one is a file, and a line here: its tables are
// created when a database without them is opened.
func readModels(numbers int64) []*engine.Projection {
	return []*engine.Projection{sentShares, receivedShares, shareHistory, recipients, invitations, devices, accounts, accessRequests, transfers, reclaims, privileges(numbers)}
}

// followers are the checkpoints of followers, which have no rows: see internal/reactors.
// A new one needs a migration, too, which sets where it begins.
var followers = []string{"policies", "notices"}

// migrations are the steps by which the tables of earlier versions get their form. A
// change of a read model's tables is one more, which recreates them: their rows come from
// the log.
var migrations = []engine.Migration{
	{Name: "0001", Comment: "read_models", Do: engine.MakeTables},
	{Name: "0002", Comment: "who_shares", Do: engine.MakeAgain(SentShares, ReceivedShares, ShareHistory, Devices, Accounts, Privileges)},
	{Name: "0003", Comment: "marks", Do: engine.ExtendCheckpoints},
	{Name: "0004", Comment: "sessions", Do: engine.OnSQLite(engine.AddSession)},
	{Name: "0005", Comment: "sums", Do: engine.MakeAgain(Privileges)},
	{Name: "0006", Comment: "lacks", Do: engine.ExtendCheckpoints},
	{Name: "0007", Comment: "wide_rows", Do: engine.OnSQLite(engine.MakeAgain(Devices, SentShares, ReceivedShares))},
	{Name: "0008", Comment: "leases", Do: engine.AddLeases},
	{Name: "0009", Comment: "paused", Do: engine.MakeAgain(SentShares, ReceivedShares, Privileges)},
	{Name: "0010", Comment: "device_facts", Do: engine.MakeAgain(Devices)},
	{Name: "0011", Comment: "addresses", Do: engine.MakeAgain(Accounts)},
	{Name: "0012", Comment: "terms", Do: engine.MakeAgain(SentShares, ReceivedShares, Privileges)},
	{Name: "0013", Comment: "why", Do: engine.MakeAgain(SentShares)},
	{Name: "0014", Comment: "terms_of_forms", Do: engine.MakeThoseAgain(Recipients, Invitations)},
	{Name: "0016", Comment: "proofs", Do: engine.MakeAgain(Accounts)},
	{Name: "0017", Comment: "notices", Do: engine.AddFollower("notices", "policies")},
	{Name: "0018", Comment: "who_answered", Do: engine.MakeAgain(ReceivedShares)},
}

// OpenConfig configures a Store.
type OpenConfig struct {
	// Database is "sqlite" (the file projections.db in Dir), "sqlite:" and a
	// path, or a connection string of PostgreSQL.
	Database string
	Dir      string
	Logger   *slog.Logger // nil: none
	// Numbers limits how many accounts, and devices, may have a number in the privileges
	// read model; 0: 16,777,215, the maximum.
	Numbers int64
	// Proofs makes shares with an address visible to an account only once the account has
	// proven that the address is its own.
	Proofs bool
}

// Store is the database of the read models. It is safe for concurrent use, also by
// several processes.
type Store struct {
	*engine.Store
	proofs bool
}

// Open opens the database and creates missing tables.
func Open(ctx context.Context, cfg OpenConfig) (*Store, error) {
	numbers := cfg.Numbers
	if numbers == 0 {
		numbers = maxNumber
	}
	s, err := engine.Open(ctx, engine.Config{
		Database: cfg.Database, Dir: cfg.Dir, Logger: cfg.Logger,
		Events:    engine.Events{Prefix: event.Prefix, Known: catalogue.Known, Decode: decode},
		Models:    readModels(numbers),
		Followers: followers, Migrations: migrations,
	})
	if err != nil {
		return nil, err
	}
	return &Store{s, cfg.Proofs}, nil
}

func decode(name string, data []byte) (any, error) { return catalogue.Decode(name, data) }

// Names lists the read models.
func Names() []string {
	list := readModels(maxNumber)
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	return names
}

// Types of package engine for callers of queries.
type (
	// Page requests a part of a list.
	Page = engine.Page
	// Seen is what read models had seen when rows were read from them.
	Seen = engine.Seen
	// Micros is a time in a row.
	Micros = engine.Micros
)

var (
	// ErrCursor is returned for a cursor that the list did not return.
	ErrCursor = engine.ErrCursor
	// ErrBehind is returned by a query whose read models have not seen the position that
	// it must see.
	ErrBehind = engine.ErrBehind
)

// RunnerConfig configures a Runner.
type RunnerConfig struct {
	Store  *Store
	Client *eventstore.Client
	Logger *slog.Logger // nil: none
}

// Runner keeps the read models up to date. Several processes may run one on the same
// database.
type Runner struct {
	*engine.Runner
	store *Store
}

// NewRunner checks the configuration.
func NewRunner(cfg RunnerConfig) (*Runner, error) {
	of := engine.RunnerConfig{Client: cfg.Client, Logger: cfg.Logger}
	if cfg.Store != nil {
		of.Store = cfg.Store.Store
	}
	r, err := engine.NewRunner(of)
	if err != nil {
		return nil, err
	}
	return &Runner{r, cfg.Store}, nil
}

// NewList returns a list whose rows are not in the database, for its pages. The rows are
// small, and place is a row's place in the list, at least 1.
func NewList[T any](name string, place func(T) int64) engine.List[T] {
	return engine.List[T]{Name: name, Place: place}
}

// NewestFirst is NewList of a list whose rows come with their places descending.
func NewestFirst[T any](name string, place func(T) int64) engine.List[T] {
	return engine.List[T]{Name: name, Start: engine.Newest, Place: place}
}

// MicrosOf returns the stored form of a time.
func MicrosOf(t time.Time) Micros { return engine.MicrosOf(t) }

// micros is the same for a Fold.
func micros(t time.Time) int64 { return int64(MicrosOf(t)) }

func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
