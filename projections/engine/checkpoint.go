package engine

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"latchkey/eventstore"
)

// checkpoint is the progress of a read model. The writer of the read model holds this
// row's lock, so one process at a time writes; another finds the work done when it gets
// the lock. On SQLite the lock is the database's own.
type checkpoint struct {
	bun.BaseModel `bun:"table:projection_checkpoints"`

	Name       string              `bun:"name,pk,type:text"`
	Position   eventstore.Position `bun:"position,notnull,type:bigint"`   // rows hold every event up to here
	Generation int64               `bun:"generation,notnull,type:bigint"` // grows with each rebuild, and when numbers are reassigned
	Rebuild    string              `bun:"rebuild,notnull,type:text"`      // token of the rebuild in progress, "" for none
	State      string              `bun:"state,notnull,type:text"`
	Error      string              `bun:"error,notnull,type:text"`
	Updated    int64               `bun:"updated,notnull,type:bigint"`

	// The mark: which log the rows were made from, and the last event of ours in
	// it up to Position. A row that an earlier version wrote has none.
	Log   string              `bun:"log,notnull,type:text,default:''"`      // its id
	Epoch int64               `bun:"epoch,notnull,type:bigint,default:0"`   // its epoch
	Seen  eventstore.Position `bun:"seen,notnull,type:bigint,default:0"`    // the event's position
	Event string              `bun:"event_id,notnull,type:text,default:''"` // the event's id

	// What the read model counts: see Counts.
	Accounts int64 `bun:"accounts,notnull,type:bigint,default:0"`
	Devices  int64 `bun:"devices,notnull,type:bigint,default:0"`
	Lacks    int64 `bun:"lacks,notnull,type:bigint,default:0"`

	Sum int64 `bun:"sum,notnull,type:bigint,default:0"` // of the row; 0: an earlier version wrote it
}

// The states of a projection.
const (
	stateNew     = "new"     // nothing has been written yet
	stateRunning = "running" // correct up to its position
	stateFailed  = "failed"  // it has stopped; Error says why
)

func (c *checkpoint) counts() Counts {
	return Counts{Accounts: c.Accounts, Devices: c.Devices, Lacks: c.Lacks}
}

func (c *checkpoint) setCounts(n Counts) {
	c.Accounts, c.Devices, c.Lacks = n.Accounts, n.Devices, n.Lacks
}

func (c *checkpoint) public() Checkpoint {
	return Checkpoint{Position: c.Position, Mark: c.mark(), Counts: c.counts()}
}

// clear resets the row to that of a read model without rows.
func (c *checkpoint) clear() {
	c.Position, c.State, c.Error, c.Rebuild = 0, stateNew, "", ""
	c.setCounts(Counts{})
	c.Generation++
}

// mark returns the mark of a checkpoint, the zero Mark if it has none.
func (c *checkpoint) mark() eventstore.Mark {
	log, err := uuid.Parse(c.Log)
	if err != nil {
		return eventstore.Mark{}
	}
	m := eventstore.Mark{Identity: eventstore.Identity{Log: log, Epoch: uint64(c.Epoch)}}
	if event, err := uuid.Parse(c.Event); err == nil {
		m.Position, m.Event = c.Seen, event
	}
	return m
}

func (c *checkpoint) setMark(m eventstore.Mark) {
	c.Log, c.Epoch, c.Seen, c.Event = "", 0, 0, ""
	if m.Log != uuid.Nil {
		c.Log, c.Epoch = m.Log.String(), int64(m.Epoch)
	}
	if m.Event != uuid.Nil {
		c.Seen, c.Event = m.Position, m.Event.String()
	}
}

const (
	readLocked  = "SELECT position, generation, rebuild, state, error, updated, log, epoch, seen, event_id, accounts, devices, lacks, sum FROM projection_checkpoints WHERE name = $1"
	writeLocked = "UPDATE projection_checkpoints SET position = $1, generation = $2, rebuild = $3, state = $4, error = $5, updated = $6, log = $7, epoch = $8, seen = $9, event_id = $10, accounts = $11, devices = $12, lacks = $13, sum = $14 WHERE name = $15"
)

// lock waits for the lock on a checkpoint and reads it. A damaged one is an error.
func (s *Store) lock(ctx context.Context, tx bun.Tx, name string) (*checkpoint, error) {
	c, err := s.lockAny(ctx, tx, name)
	if err != nil {
		return nil, err
	}
	return c, c.sound()
}

func (s *Store) lockAny(ctx context.Context, tx bun.Tx, name string) (*checkpoint, error) {
	q := s.placed(readLocked)
	if !s.sqlite {
		q += " FOR UPDATE"
	}
	c := &checkpoint{Name: name}
	if err := s.readRow(ctx, tx, q, c); err != nil {
		return nil, fmt.Errorf("locking the checkpoint of %s: %w", name, err)
	}
	return c, nil
}

func (s *Store) readRow(ctx context.Context, tx bun.Tx, q string, c *checkpoint) (err error) {
	rows, err := s.queryIn(ctx, tx, q, c.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return cmp.Or(rows.Err(), sql.ErrNoRows)
	}
	return rows.Scan(&c.Position, &c.Generation, &c.Rebuild, &c.State, &c.Error, &c.Updated, &c.Log, &c.Epoch, &c.Seen, &c.Event, &c.Accounts, &c.Devices, &c.Lacks, &c.Sum)
}

// save writes the row; the transaction holds its lock.
func (s *Store) save(ctx context.Context, tx bun.Tx, c *checkpoint) error {
	c.Updated, c.Sum = time.Now().UnixMicro(), c.sum()
	err := s.execIn(ctx, tx, s.placed(writeLocked), c.Position, c.Generation, c.Rebuild, c.State, c.Error, c.Updated, c.Log, c.Epoch, c.Seen, c.Event, c.Accounts, c.Devices, c.Lacks, c.Sum, c.Name)
	if err != nil {
		return fmt.Errorf("writing the checkpoint of %s: %w", c.Name, err)
	}
	return nil
}

// checkpoint reads a checkpoint without a lock.
func (s *Store) checkpoint(ctx context.Context, name string) (*checkpoint, error) {
	c := &checkpoint{Name: name}
	err := s.queries.NewSelect().Model(c).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("reading the checkpoint of %q: no such projection", name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint of %s: %w", name, err)
	}
	return c, nil
}

// errNoCheckpoint is returned if a row is missing.
var errNoCheckpoint = errors.New("one is missing")

// checkpoints reads every checkpoint, by name, in one state of the database.
func (s *Store) checkpoints(ctx context.Context) (map[string]*checkpoint, error) {
	var rows []*checkpoint
	if err := s.queries.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return nil, fmt.Errorf("reading the checkpoints: %w", err)
	}
	list := make(map[string]*checkpoint, len(rows))
	for _, c := range rows {
		list[c.Name] = c
	}
	for _, name := range append(s.Names(), s.followers...) {
		if list[name] == nil {
			return nil, s.advised(fmt.Errorf("reading the checkpoints: %w: that of %s", errNoCheckpoint, name))
		}
	}
	return list, nil
}

// fail records that a projection has stopped, for outside observers. Another process may
// succeed and overwrite it.
func (s *Store) fail(ctx context.Context, name string, cause error) error {
	_, err := s.writes.NewUpdate().Model((*checkpoint)(nil)).
		Set("state = ?", stateFailed).Set("error = ?", cause.Error()).Set("updated = ?", time.Now().UnixMicro()).
		Where("name = ?", name).Exec(ctx)
	if err != nil {
		return fmt.Errorf("recording the failure of %s: %w", name, err)
	}
	return nil
}
