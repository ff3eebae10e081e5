package projections_test

import (
	"context"

	"github.com/google/uuid"

	"latchkey/eventstore"
	"latchkey/projections"
)

// setCheckpoint puts a checkpoint somewhere else, as a restored database would.
func setCheckpoint(ctx context.Context, s *projections.Store, name string, position eventstore.Position) error {
	q := s.DB().NewUpdate().Table("projection_checkpoints").Set("position = ?", position).Set("sum = 0").Where("name = ?", name)
	if position == 0 { // of an empty read model
		q = q.Set("accounts = 0, devices = 0, lacks = 0")
	}
	_, err := q.Exec(ctx)
	return err
}

// numbersOf are those that were given, and how many events lacked one.
func numbersOf(ctx context.Context, s *projections.Store) (accounts, devices, lacks int64, err error) {
	err = s.DB().NewSelect().Table("projection_checkpoints").Column("accounts", "devices", "lacks").
		Where("name = ?", projections.Privileges).Scan(ctx, &accounts, &devices, &lacks)
	return accounts, devices, lacks, err
}

// markOf is that of a checkpoint.
func markOf(ctx context.Context, s *projections.Store, name string) (eventstore.Mark, error) {
	marks, err := s.Marks(ctx)
	return marks[name], err
}

// setMark replaces the mark of a checkpoint, the zero Mark by none.
func setMark(ctx context.Context, s *projections.Store, name string, m eventstore.Mark) error {
	log, event, seen := "", "", eventstore.Position(0)
	if m.Log != uuid.Nil {
		log = m.Log.String()
	}
	if m.Event != uuid.Nil {
		event, seen = m.Event.String(), m.Position
	}
	_, err := s.DB().NewUpdate().Table("projection_checkpoints").Set("log = ?", log).Set("epoch = ?", int64(m.Epoch)).
		Set("seen = ?", int64(seen)).Set("event_id = ?", event).Set("sum = 0").Where("name = ?", name).Exec(ctx)
	return err
}

// spoil makes rows that no event made.
func spoil(ctx context.Context, s *projections.Store) error {
	_, err := s.DB().ExecContext(ctx, "UPDATE devices SET device = 'ghost' WHERE device = 'dev0'")
	return err
}
