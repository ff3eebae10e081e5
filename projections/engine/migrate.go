package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"
)

// migrateLock is the number of PostgreSQL's advisory lock for creating tables, so that
// processes that start together do not do it twice.
const migrateLock = 0x6c61746368

// Migration is a step that is taken once per database.
type Migration struct {
	Name, Comment string // as recorded in databases: frozen
	// Do must be idempotent.
	Do func(ctx context.Context, s *Store) error
}

// MakeTables creates the checkpoints, and the tables of every read model.
func MakeTables(ctx context.Context, s *Store) error { return s.createAll(ctx) }

// ExtendCheckpoints adds this version's columns to checkpoints of earlier versions. They
// have no mark until they are written or checked.
func ExtendCheckpoints(ctx context.Context, s *Store) error { return s.write(ctx, s.addColumns) }

// AddSession adds the token of a session.
func AddSession(ctx context.Context, s *Store) error { return s.addSession(ctx) }

// MakeAgain empties read models and recreates their tables in the form of this build. The
// rows come from the log again.
func MakeAgain(models ...string) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error { return s.makeAgain(ctx, models) }
}

// MakeThoseAgain is MakeAgain for read models that an older database does not have: they
// are made later, in the form of this build.
func MakeThoseAgain(models ...string) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		missing, err := s.missing(ctx)
		if err != nil {
			return err
		}
		there := slices.DeleteFunc(slices.Clone(models), func(name string) bool {
			return slices.ContainsFunc(missing, func(p *Projection) bool { return p.Name == name })
		})
		return s.makeAgain(ctx, there)
	}
}

// AddFollower adds the checkpoint of a follower to a database that lacks it. It begins
// where another follower is: what happened before is not followed.
func AddFollower(name, at string) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
			there, err := tx.NewSelect().Model((*checkpoint)(nil)).Where("name = ?", name).Exists(ctx)
			if err != nil || there {
				return wrapped("looking for the checkpoint of "+name, err)
			}
			if err := s.addCheckpoint(ctx, tx, name); err != nil {
				return err
			}
			c, err := s.lock(ctx, tx, at)
			if err != nil {
				return err
			}
			c.Name = name
			if err := s.save(ctx, tx, c); err != nil {
				return err
			}
			return s.joinSession(ctx, tx, name)
		})
	}
}

// OnSQLite is a step only for SQLite.
func OnSQLite(do func(context.Context, *Store) error) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		if !s.sqlite {
			return nil
		}
		return do(ctx, s)
	}
}

// migrate creates the tables and migrates those of earlier versions.
func (s *Store) migrate(ctx context.Context, steps []Migration) error {
	unlock, err := s.lockMigrations(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	migrations := migrate.NewMigrations()
	for _, step := range steps {
		up := func(ctx context.Context, _ *migrate.Migrator, _ *migrate.Migration) error { return step.Do(ctx, s) }
		migrations.Add(migrate.Migration{Name: step.Name, Comment: step.Comment, Up: up})
	}
	m := migrate.NewMigrator(s.writes, migrations,
		migrate.WithTableName("projection_migrations"), migrate.WithLocksTableName("projection_migration_locks"), migrate.WithMarkAppliedOnSuccess(true))
	if err := m.Init(ctx); err != nil {
		return fmt.Errorf("creating the migrations table: %w", err)
	}
	if _, err := m.Migrate(ctx); err != nil {
		return fmt.Errorf("creating the tables: %w", err)
	}
	return nil
}

// lockMigrations lets one process at a time create tables. On SQLite every step is
// idempotent, and no lock is needed.
func (s *Store) lockMigrations(ctx context.Context) (unlock func(), err error) {
	if s.sqlite {
		return func() {}, nil
	}
	conn, err := s.queries.DB.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", migrateLock); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for another process to create the tables: %w", err), conn.Close())
	}
	return func() {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrateLock)
		if err = errors.Join(err, conn.Close()); err != nil {
			s.logger.Warn("the lock for creating tables could not be released", "error", err)
		}
	}, nil
}

// createAll creates every table, in one transaction.
func (s *Store) createAll(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewCreateTable().Model((*checkpoint)(nil)).IfNotExists().Exec(ctx); err != nil {
			return fmt.Errorf("creating the checkpoints table: %w", err)
		}
		for _, name := range append(s.Names(), s.followers...) {
			if err := s.addCheckpoint(ctx, tx, name); err != nil {
				return err
			}
		}
		for _, p := range s.models {
			if err := s.createModel(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) addCheckpoint(ctx context.Context, tx bun.Tx, name string) error {
	_, err := tx.NewInsert().Model(&checkpoint{Name: name, Generation: 1, State: stateNew}).On("CONFLICT (name) DO NOTHING").Exec(ctx)
	return wrapped("writing the first checkpoint of "+name, err)
}

// createModel creates the tables of a read model that has none.
func (s *Store) createModel(ctx context.Context, tx bun.Tx, p *Projection) error {
	if err := s.createTables(ctx, tx, p, ""); err != nil {
		return err
	}
	return s.createIndexes(ctx, tx, p, "", 1)
}

// addModels creates read models that were added since the database was created: those
// with neither a checkpoint nor a table. They are filled from the log. If only one of the
// two is missing, it was lost.
func (s *Store) addModels(ctx context.Context) error {
	missing, err := s.missing(ctx)
	if err != nil || len(missing) == 0 {
		return err
	}
	unlock, err := s.lockMigrations(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, p := range missing {
		if s.hasTable(ctx, p) { // another process was faster, or the checkpoint was lost
			continue
		}
		err := s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
			if err := s.addCheckpoint(ctx, tx, p.Name); err != nil {
				return err
			}
			if err := s.joinSession(ctx, tx, p.Name); err != nil {
				return err
			}
			return s.createModel(ctx, tx, p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// missing returns the read models without a checkpoint.
func (s *Store) missing(ctx context.Context) (list []*Projection, err error) {
	var names []string
	if len(s.models) > 0 {
		if err := s.queries.NewSelect().Model((*checkpoint)(nil)).Column("name").Scan(ctx, &names); err != nil {
			return nil, fmt.Errorf("finding the checkpoints: %w", err)
		}
	}
	for _, p := range s.models {
		if !slices.Contains(names, p.Name) {
			list = append(list, p)
		}
	}
	return list, nil
}

// hasTable reports whether one of the tables of a read model is readable.
func (s *Store) hasTable(ctx context.Context, p *Projection) bool {
	return slices.ContainsFunc(p.Tables, func(t *Table) bool {
		_, err := s.queries.NewSelect().TableExpr(t.Name).ColumnExpr("1").Limit(1).Exists(ctx)
		return err == nil
	})
}

// makeAgain empties read models and recreates their tables in the form of this build.
func (s *Store) makeAgain(ctx context.Context, models []string) error {
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.addColumns(ctx, tx); err != nil {
			return err
		}
		for _, name := range models {
			if err := s.makeOneAgain(ctx, tx, s.find(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) makeOneAgain(ctx context.Context, tx bun.Tx, p *Projection) error {
	c, err := s.lock(ctx, tx, p.Name)
	if err != nil {
		return err
	}
	for _, t := range p.Tables {
		if _, err := tx.ExecContext(ctx, "DROP TABLE IF EXISTS "+t.Name); err != nil {
			return fmt.Errorf("dropping the table %s: %w", t.Name, err)
		}
	}
	if err := s.createTables(ctx, tx, p, ""); err != nil {
		return err
	}
	c.clear()
	c.Seen, c.Event = 0, ""
	if err := s.createIndexes(ctx, tx, p, "", c.Generation); err != nil {
		return err
	}
	return s.save(ctx, tx, c)
}

// addColumns adds the missing columns of the checkpoints table.
func (s *Store) addColumns(ctx context.Context, tx bun.Tx) error {
	for _, c := range []Column{Text("log"), Number("epoch"), Number("seen"), Text("event_id"), Number("accounts"), Number("devices"), Number("lacks"), Number("sum")} {
		if err := s.addColumn(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) addColumn(ctx context.Context, tx bun.Tx, c Column) error {
	q := tx.NewAddColumn().Table("projection_checkpoints").ColumnExpr("? ? NOT NULL DEFAULT ?", bun.Ident(c.Name), bun.Safe(c.sqlType()), c.zero())
	if s.sqlite { // has no IF NOT EXISTS for columns
		there := 0
		err := tx.NewRaw("SELECT count(*) FROM pragma_table_info('projection_checkpoints') WHERE name = ?", c.Name).Scan(ctx, &there)
		if err != nil || there > 0 {
			return wrapped("looking at the table of checkpoints", err)
		}
	} else {
		q = q.IfNotExists()
	}
	_, err := q.Exec(ctx)
	return wrapped("adding "+c.Name+" to the table of checkpoints", err)
}

// createTables creates the tables of a read model, with a suffix to their names.
func (s *Store) createTables(ctx context.Context, tx bun.Tx, p *Projection, suffix string) error {
	for _, t := range p.Tables {
		if _, err := tx.ExecContext(ctx, t.create(t.Name+suffix, s.sqlite)); err != nil {
			return fmt.Errorf("creating the table %s: %w", t.Name+suffix, err)
		}
	}
	return nil
}

func (s *Store) createIndexes(ctx context.Context, tx bun.Tx, p *Projection, suffix string, generation int64) error {
	for _, t := range p.Tables {
		for _, q := range t.createIndexes(t.Name+suffix, generation) {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("indexing the table %s: %w", t.Name+suffix, err)
			}
		}
	}
	return nil
}
