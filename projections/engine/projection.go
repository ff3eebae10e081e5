package engine

import (
	"fmt"
	"slices"
	"time"

	"latchkey/eventstore"
)

// Projection is one read model.
type Projection struct {
	Name   string   // frozen: also the name of its checkpoint
	Tables []*Table // Status counts the rows of the first one
	Events []string // the types that it reads
	Joins  []string // the read models whose tables its queries need as well
	// Fold applies an event to each of the tables, for a read model that handles one
	// event at a time and reads no row.
	Fold func(rows []*Fold, e Record)
	// Of returns the account whose rows, among those that a query by account finds, an
	// event may change, "" for anybody's; nil: anybody's, always.
	Of func(e Record) (account string)
	// Reducer returns the reducer that converts events to rows, if that is not Fold.
	Reducer func() Reducer
	// Lacking, if set, reports from its counts whether the read model is missing
	// something that a rebuild would give it now. It is then rebuilt.
	Lacking func(Counts) bool
}

func (p *Projection) of(e Record) string {
	if p.Of == nil {
		return ""
	}
	return p.Of(e)
}

func (p *Projection) reads(name string) bool { return slices.Contains(p.Events, name) }

// Events defines how the events of the log are read.
type Events struct {
	// Prefix is the start of the types of the events that read models are built from.
	Prefix string
	// Known reports whether this build can read events of a type.
	Known func(name string) bool
	// Decode reads an event.
	Decode func(name string, data []byte) (any, error)
}

// Record is an event of the log.
type Record struct {
	Event    any                  // its value, as Events.Decode returned it
	Position eventstore.Position  // in the log
	Revision int64                // in its stream
	Raw      *eventstore.Recorded // its data in the log: bytes, metadata, time; read-only
}

// Unreadable returns the error for an event that was decoded but cannot be used.
func Unreadable(e Record, cause error) error {
	return &unreadableError{position: e.Position, err: fmt.Errorf("event %s at position %d: using %s: %w", e.Raw.ID, e.Position, e.Raw.Type, cause)}
}

type unreadableError struct {
	position eventstore.Position
	err      error
}

func (e *unreadableError) Error() string { return e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

// Reducer converts events to rows. It may cache the rows, as long as nothing else writes
// them.
type Reducer interface {
	// Reduce writes the effects of the events, in order. If a row that it reads does not
	// match its sum it returns ErrDamaged, and the read model is rebuilt. If it cannot
	// use an event it returns the error of Unreadable, and only this read model stops
	// before that event. After any other error it is called again.
	Reduce(w *Writer, events []Record) error
	// Forget is called when the rows may have changed otherwise: another process wrote, a
	// transaction failed, a rebuild swapped the tables.
	Forget()
}

func (p *Projection) newReducer() Reducer {
	if p.Reducer != nil {
		return p.Reducer()
	}
	return folding{p.Tables, p.Fold}
}

// folding is a Reducer that handles one event at a time and reads no row. It writes each
// row once, however many events concern it.
type folding struct {
	tables []*Table
	apply  func(rows []*Fold, e Record)
}

func (f folding) Reduce(w *Writer, events []Record) error {
	for _, r := range f.fold(events) {
		if err := r.write(w); err != nil {
			return err
		}
	}
	return nil
}

func (f folding) fold(events []Record) []*Fold {
	rows := make([]*Fold, len(f.tables))
	for i, t := range f.tables {
		rows[i] = newFold(t)
	}
	for _, e := range events {
		f.apply(rows, e)
	}
	return rows
}

func (folding) Forget() {}

// Counts are numbers that a read model keeps in the row of its checkpoint. Their names
// are those of the columns, named after the counts of the privileges read model.
type Counts struct {
	// Accounts and Devices are covered by the checkpoint's sum, so that a lost row is
	// noticed.
	Accounts, Devices int64
	// Lacks is how many events had no effect for lack of numbers. It is not covered by
	// the sum: a wrong value grants nothing.
	Lacks int64
}

// Micros is the stored form of a time: microseconds since 1970, 0 for none.
type Micros int64

// MicrosOf returns the stored form of a time.
func MicrosOf(t time.Time) Micros {
	if t.IsZero() {
		return 0
	}
	return Micros(t.UnixMicro())
}

// Time returns the time, the zero time for none.
func (m Micros) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

// Names lists the read models of the store.
func (s *Store) Names() []string {
	names := make([]string, len(s.models))
	for i, p := range s.models {
		names[i] = p.Name
	}
	return names
}

func (s *Store) find(name string) *Projection {
	i := slices.IndexFunc(s.models, func(p *Projection) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return s.models[i]
}

// tablesOf returns the names of all tables of some read models.
func (s *Store) tablesOf(models []string) (names []string, err error) {
	for _, name := range models {
		p := s.find(name)
		if p == nil {
			return nil, fmt.Errorf("no such read model %q", name)
		}
		for _, t := range p.Tables {
			names = append(names, t.Name)
		}
	}
	return names, nil
}

// decode reads the wanted events. An event type unknown to this build is an error: it
// might matter.
func (v Events) decode(events []eventstore.Recorded, wanted func(name string) bool) ([]Record, error) {
	list := make([]Record, 0, len(events))
	for i := range events {
		e, ok, err := v.decodeOne(&events[i], wanted)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, e)
		}
	}
	return list, nil
}

func (v Events) decodeOne(e *eventstore.Recorded, wanted func(name string) bool) (_ Record, ok bool, _ error) {
	if !wanted(e.Type) {
		if !v.Known(e.Type) {
			return Record{}, false, fmt.Errorf("event %s at position %d: its type %q is unknown to this build", e.ID, e.Position, e.Type)
		}
		return Record{}, false, nil
	}
	decoded, err := v.Decode(e.Type, e.Data)
	if err != nil {
		return Record{}, false, fmt.Errorf("event %s at position %d: %w", e.ID, e.Position, err)
	}
	return Record{Event: decoded, Position: e.Position, Revision: int64(e.Revision), Raw: e}, true, nil
}
