package journal

import (
	"bytes"
	"fmt"
	"os"

	"github.com/google/uuid"

	"latchkey/eventstore"
)

// Contents is the content of a journal.
type Contents struct {
	// Entries are the revocations, oldest first.
	Entries []Entry
	// Marks are how far each log and epoch was read, oldest first.
	Marks []eventstore.Mark

	// Torn: the last line has no newline and was not read. A crash left it, or the
	// journal was truncated.
	Torn bool

	end  int64  // where the next line begins
	mark int64  // length of the last line if it is a mark, else 0
	next uint64 // number of the next entry
}

// readTries: a mark may be half written while it is read.
const readTries = 3

// Read reads a journal, also while a process writes it. ErrDamaged.
func Read(path string) (*Contents, error) {
	for tries := 1; ; tries++ {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the journal of revocations: %w", err)
		}
		c, err := parse(data)
		if err == nil {
			return c, nil
		}
		if tries == readTries {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
}

// Last returns the mark of the log and epoch that the journal was written for
// last, and the zero Mark for an empty journal.
func (c *Contents) Last() eventstore.Mark {
	if len(c.Marks) == 0 {
		return eventstore.Mark{}
	}
	return c.Marks[len(c.Marks)-1]
}

// Reaches reports whether the journal was still written when the log had, in that epoch,
// an event at the position.
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
	for number := 1; len(data) > 0; number++ {
		line, after, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			c.Torn = true
			break
		}
		c.mark = 0
		for _, raw := range bytes.Split(line, []byte{between}) {
			e, ok := decode(raw)
			if !ok || e.N != c.next || !c.add(e) {
				return nil, fmt.Errorf("%w: line %d, at byte %d, cannot be read", ErrDamaged, number, c.end)
			}
			if e.Kind == kindMark {
				c.mark = int64(len(line) + 1)
			}
		}
		c.end += int64(len(line) + 1)
		data = after
	}
	return c, nil
}

// add adds an entry; ok is false if it does not belong to the current log.
func (c *Contents) add(e Entry) (ok bool) {
	if e.Kind == kindBegan {
		c.Marks = append(c.Marks, eventstore.Mark{Identity: e.identity()})
	}
	if len(c.Marks) == 0 || e.identity() != c.Last().Identity || e.Log == uuid.Nil {
		return false
	}
	if m := &c.Marks[len(c.Marks)-1]; e.Event != uuid.Nil {
		m.Position, m.Event = e.Position, e.Event
	}
	if e.Kind == kindMark {
		return true
	}
	if e.Kind != kindBegan {
		c.Entries = append(c.Entries, e)
	}
	c.next++
	return true
}
