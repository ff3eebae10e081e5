package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"
)

// migrateLock is the number of PostgreSQL's advisory lock under which tables are
// made, so that processes which start together do not do it twice.
const migrateLock = 0x6c61746368

// migrate makes the tables. A later change of a read model's tables is another
// migration, which makes them anew: their rows come from the log.
func (s *Store) migrate(ctx context.Context) error {
	unlock, err := s.lockMigrations(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	migrations := migrate.NewMigrations()
	migrations.Add(migrate.Migration{Name: "0001", Comment: "read_models", Up: s.createAll})
	migrations.Add(migrate.Migration{Name: "0002", Comment: "who_shares", Up: s.makeAnew})
	migrations.Add(migrate.Migration{Name: "0003", Comment: "marks", Up: s.addMarks})
	migrations.Add(migrate.Migration{Name: "0004", Comment: "sessions", Up: s.addSession})
	migrations.Add(migrate.Migration{Name: "0005", Comment: "sums", Up: s.addSums})
	migrations.Add(migrate.Migration{Name: "0006", Comment: "lacks", Up: s.addMarks})
	migrations.Add(migrate.Migration{Name: "0007", Comment: "wide_rows", Up: s.setKeysApart})
	m := migrate.NewMigrator(s.writes, migrations,
		migrate.WithTableName("projection_migrations"), migrate.WithLocksTableName("projection_migration_locks"), migrate.WithMarkAppliedOnSuccess(true))
	if err := m.Init(ctx); err != nil {
		return fmt.Errorf("making the table of migrations: %w", err)
	}
	if _, err := m.Migrate(ctx); err != nil {
		return fmt.Errorf("making the tables: %w", err)
	}
	return nil
}

// lockMigrations lets one process at a time make tables. On SQLite every step is
// one that is right to repeat, and there is nothing to lock.
func (s *Store) lockMigrations(ctx context.Context) (unlock func(), err error) {
	if s.sqlite {
		return func() {}, nil
	}
	conn, err := s.queries.DB.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", migrateLock); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for another process that makes tables: %w", err), conn.Close())
	}
	return func() {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrateLock)
		if err = errors.Join(err, conn.Close()); err != nil {
			s.logger.Warn("the lock on making tables could not be given back", "error", err)
		}
	}, nil
}

// createAll makes every table, in one transaction.
func (s *Store) createAll(ctx context.Context, _ *migrate.Migrator, _ *migrate.Migration) error {
	return s.writing(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewCreateTable().Model((*checkpoint)(nil)).IfNotExists().Exec(ctx); err != nil {
			return fmt.Errorf("making the table of checkpoints: %w", err)
		}
		for _, name := range append(Names(), policies) {
			if _, err := tx.NewInsert().Model(&checkpoint{Name: name, Generation: 1, State: stateNew}).On("CONFLICT (name) DO NOTHING").Exec(ctx); err != nil {
				return fmt.Errorf("writing the first checkpoint of %s: %w", name, err)
			}
		}
		for _, p := range all {
			if err := s.createTables(ctx, tx, p, ""); err != nil {
				return err
			}
			if err := s.createIndexes(ctx, tx, p, "", 1); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeAnew makes every read model again.
func (s *Store) makeAnew(ctx context.Context, _ *migrate.Migrator, _ *migrate.Migration) error {
	return s.makeAgain(ctx, all...)
}

// addSums gives the rows of privileges, and the checkpoints, a place for sums.
func (s *Store) addSums(ctx context.Context, _ *migrate.Migrator, _ *migrate.Migration) error {
	return s.makeAgain(ctx, privileges)
}

// setKeysApart gives tables with wide rows their form in SQLite.
func (s *Store) setKeysApart(ctx context.Context, _ *migrate.Migrator, _ *migrate.Migration) error {
	if !s.sqlite {
		return nil
	}
	return s.makeAgain(ctx, devices, sentShares, receivedShares)
}

// makeAgain empties read models and gives their tables the form that this build
// has for them. The rows come from the log again.
func (s *Store) makeAgain(ctx context.Context, of ...*projection) error {
	return s.writing(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.addMarkColumns(ctx, tx); err != nil {
			return err
		}
		for _, p := range of {
			c, err := s.lock(ctx, tx, p.name)
			if err != nil {
				return err
			}
			for _, t := range p.tables {
				if _, err := tx.ExecContext(ctx, "DROP TABLE "+t.name); err != nil {
					return fmt.Errorf("dropping the table %s: %w", t.name, err)
				}
			}
			if err := s.createTables(ctx, tx, p, ""); err != nil {
				return err
			}
			c.Generation++
			if err := s.createIndexes(ctx, tx, p, "", c.Generation); err != nil {
				return err
			}
			c.Position, c.State, c.Error, c.Rebuild = 0, stateNew, "", ""
			c.Seen, c.Event, c.Accounts, c.Devices, c.Lacks = 0, "", 0, 0, 0
			if err := s.save(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// addMarks gives checkpoints of earlier versions a place for a mark. They have
// none until they are written or checked.
func (s *Store) addMarks(ctx context.Context, _ *migrate.Migrator, _ *migrate.Migration) error {
	return s.writing(ctx, s.addMarkColumns)
}

func (s *Store) addMarkColumns(ctx context.Context, tx bun.Tx) error {
	for _, c := range []column{text("log"), number("epoch"), number("seen"), text("event_id"), number("accounts"), number("devices"), number("lacks"), number("sum")} {
		there := 0
		if s.sqlite { // has no IF NOT EXISTS for columns
			err := tx.NewRaw("SELECT count(*) FROM pragma_table_info('projection_checkpoints') WHERE name = ?", c.name).Scan(ctx, &there)
			if err != nil {
				return fmt.Errorf("looking at the table of checkpoints: %w", err)
			}
		}
		if there > 0 {
			continue
		}
		q := tx.NewAddColumn().Table("projection_checkpoints").ColumnExpr("? ? NOT NULL DEFAULT ?", bun.Ident(c.name), bun.Safe(c.sqlType()), c.zero())
		if !s.sqlite {
			q = q.IfNotExists()
		}
		if _, err := q.Exec(ctx); err != nil {
			return fmt.Errorf("adding marks to the table of checkpoints: %w", err)
		}
	}
	return nil
}

// createTables makes the tables of a read model, their names with a suffix.
func (s *Store) createTables(ctx context.Context, tx bun.Tx, p *projection, suffix string) error {
	for _, t := range p.tables {
		if _, err := tx.ExecContext(ctx, t.create(t.name+suffix, s.sqlite)); err != nil {
			return fmt.Errorf("making the table %s: %w", t.name+suffix, err)
		}
	}
	return nil
}

func (s *Store) createIndexes(ctx context.Context, tx bun.Tx, p *projection, suffix string, generation int64) error {
	for _, t := range p.tables {
		for _, q := range t.createIndexes(t.name+suffix, generation) {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("indexing the table %s: %w", t.name+suffix, err)
			}
		}
	}
	return nil
}
