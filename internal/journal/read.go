package journal

import (
	"bytes"
	"fmt"
	"os"

	"github.com/google/uuid"

	"latchkey/eventstore"
)

// Contents is what a journal holds.
type Contents struct {
	// Entries are what was taken away, oldest first.
	Entries []Entry
	// Marks say, for each log and epoch, how far it was looked at, oldest first.
	Marks []eventstore.Mark

	end  int64  // where the next line begins
	mark int64  // length of the mark that stands there
	next uint64 // number of the next line
}

// Read reads a journal, also while a process writes it. What a crash left at its
// end is not read: it was never synced. ErrDamaged: lines that were are missing.
func Read(path string) (*Contents, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the journal of revocations: %w", err)
	}
	c, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return c, nil
}

// Last returns the mark of the log and epoch that the journal was written for
// last, and the zero Mark for an empty journal.
func (c *Contents) Last() eventstore.Mark {
	if len(c.Marks) == 0 {
		return eventstore.Mark{}
	}
	return c.Marks[len(c.Marks)-1]
}

// Reaches reports whether the journal was still written when the log had, in
// that epoch, an event at the position.
func (c *Contents) Reaches(id eventstore.Identity, position eventstore.Position) bool {
	for _, m := range c.Marks {
		if m.Log == id.Log && (m.Epoch > id.Epoch || m.Epoch == id.Epoch && m.Position >= position) {
			return true
		}
	}
	return false
}

func parse(data []byte) (*Contents, error) {
	c := &Contents{next: 1}
	for rest := data; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		e, ok := decode(line)
		if !whole || !ok || e.N != c.next || !c.add(e, int64(len(line)+1)) {
			return c, c.checkTail(rest)
		}
		rest = after
	}
	return c, nil
}

// add takes a line; ok is false if it is not one of the log that is written about.
func (c *Contents) add(e Entry, length int64) (ok bool) {
	if e.Kind == kindBegan {
		c.Marks = append(c.Marks, eventstore.Mark{Identity: e.identity()})
	}
	if len(c.Marks) == 0 || e.identity() != c.Last().Identity || e.Log == uuid.Nil {
		return false
	}
	if m := &c.Marks[len(c.Marks)-1]; e.Event != uuid.Nil {
		m.Position, m.Event = eventstore.Position(e.Position), e.Event
	}
	if e.Kind == kindMark {
		c.mark = length
		return true
	}
	if e.Kind != kindBegan {
		c.Entries = append(c.Entries, e)
	}
	c.end += length
	c.next++
	return true
}

// checkTail looks at what follows the last line that could be read. A crash
// leaves nothing there but lines of one batch, as the next one is written when
// that is synced.
func (c *Contents) checkTail(rest []byte) error {
	for {
		begin := bytes.Index(rest, []byte(lineBegin))
		if begin < 0 {
			return nil
		}
		line, _, _ := bytes.Cut(rest[begin:], []byte("\n"))
		if e, ok := decode(line); ok && e.Batch > c.next {
			return fmt.Errorf("%w: line %d, at byte %d, cannot be read", ErrDamaged, c.next, c.end)
		}
		rest = rest[begin+len(lineBegin):]
	}
}
