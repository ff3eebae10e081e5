package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"latchkey/eventstore"
	"latchkey/internal/journal"
)

// journalName is the journal of revocations in a data folder. Other processes that share
// the folder have journals with a number in their names.
const (
	journalName  = "revocations.journal"
	journalNames = "revocations*.journal"
	journalsMost = 16
)

// openJournal opens the named journal, or the first one in the data folder that no other
// process is writing.
func openJournal(o options, logger *slog.Logger) (*journal.Journal, error) {
	if o.Journal != "" {
		return journal.Open(o.Journal, logger)
	}
	j, err := journal.Open(filepath.Join(o.Data, journalName), logger)
	for i := 2; errors.Is(err, journal.ErrLocked) && i <= journalsMost; i++ {
		j, err = journal.Open(filepath.Join(o.Data, fmt.Sprintf("revocations.%d.journal", i)), logger)
	}
	return j, err
}

// startJournal starts to record revocations. It refuses a log from which events that the
// journal has seen are missing.
func (s *runningService) startJournal(ctx context.Context, o options) error {
	j, err := openJournal(o, s.logger)
	if err != nil {
		return err
	}
	s.journal = j
	log := s.opened.log
	err = j.Begin(ctx, log)
	s.run("journal of revocations", func(ctx context.Context) error { return errors.Join(j.Run(ctx, log), j.Close()) })
	if errors.Is(err, eventstore.ErrUnavailable) {
		return nil // Run checks again
	}
	return err
}
