package node

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/cockroachdb/pebble/v2"
)

// damageError is the error of a part of the log that cannot be read until it is restored.
type damageError struct {
	where string // "at position 7"
	cause error
}

func (e *damageError) Error() string {
	if m := tableNamed.FindStringSubmatch(e.cause.Error()); m != nil {
		return fmt.Sprintf("the log is damaged %s (in the file %s.sst): restore it from a backup", e.where, m[1])
	}
	return fmt.Sprintf("the log is damaged %s: restore it from a backup", e.where)
}

func (e *damageError) Unwrap() error { return e.cause }

// tableNamed finds the file in an error of Pebble, whose text has several lines.
var tableNamed = regexp.MustCompile(`file ([0-9]{6,})`)

// readError adds where something could not be read. Damage is logged once per place.
func (s *store) readError(err error, format string, args ...any) error {
	where := fmt.Sprintf(format, args...)
	var known *damageError
	switch {
	case errors.As(err, &known):
		return err
	case !pebble.IsCorruptionError(err) && !errors.Is(err, errRecord):
		return fmt.Errorf("reading the log %s: %w", where, err)
	}
	damage := &damageError{where, err}
	if s.damaged.due(where) {
		s.logger.Error(damage.Error(), "folder", s.dir)
	}
	return damage
}
