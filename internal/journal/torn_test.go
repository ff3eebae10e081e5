package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"latchkey/eventstore"
)

const sector = 512

// tornDisk keeps what is synced, and before each sync looks at what a power cut
// might leave: any of the sectors that were written since, and either size.
type tornDisk struct {
	synced, now []byte
	look        func(left []byte)
}

func (d *tornDisk) WriteAt(p []byte, at int64) (int, error) {
	if lack := int(at) + len(p) - len(d.now); lack > 0 {
		d.now = append(d.now, make([]byte, lack)...)
	}
	return copy(d.now[at:], p), nil
}

func (d *tornDisk) Truncate(size int64) error {
	d.now = d.now[:size]
	return nil
}

func (d *tornDisk) Sync() error {
	for range 20 {
		left := make([]byte, max(len(d.now), len(d.synced)))
		copy(left, d.synced)
		for at := 0; at < len(d.now); at += sector {
			if rand.IntN(2) == 0 {
				copy(left[at:], d.now[at:min(at+sector, len(d.now))])
			}
		}
		if rand.IntN(2) == 0 {
			left = left[:len(d.synced)]
		}
		d.look(left)
	}
	d.synced = bytes.Clone(d.now)
	return nil
}

// TestAPowerCutIsNotDamage: whenever the power is cut, what was written before
// can be read, with the last mark or a later one.
func TestAPowerCutIsNotDamage(t *testing.T) {
	f, _, err := openFile(filepath.Join(t.TempDir(), "j"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.f.Close()
	entries, mark := 0, eventstore.Position(0)
	f.disk = &tornDisk{look: func(left []byte) {
		c, err := parse(left)
		if err != nil || len(c.Entries) < entries || c.Last().Position < mark {
			t.Fatalf("%v: want %d entries and position %d\n%q", err, entries, mark, left)
		}
	}}
	id := eventstore.Identity{Log: uuid.New(), Epoch: 1}
	entry := func(kind string, position int) Entry {
		return Entry{Kind: kind, Log: id.Log, Epoch: id.Epoch, Position: eventstore.Position(position), Event: uuid.New()}
	}
	if err := f.write([]Entry{{Kind: kindBegan, Log: id.Log, Epoch: id.Epoch}}); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 40; n++ {
		if rand.IntN(2) == 0 {
			err = f.writeMark(entry(kindMark, n))
		} else {
			var list []Entry
			for i := range 1 + rand.IntN(6) {
				e := entry("share_device", n)
				e.Share, e.Device = uuid.NewString(), fmt.Sprintf("%0*d", 1+rand.IntN(64), i)
				list = append(list, e)
			}
			err = f.write(list)
			entries += len(list)
		}
		if err != nil {
			t.Fatal(err)
		}
		mark = eventstore.Position(n)
	}
	c, err := parse(f.disk.(*tornDisk).synced)
	if err != nil || len(c.Entries) != entries || c.Last().Position != 40 || c.Torn {
		t.Fatalf("%v: %d entries, %v", err, len(c.Entries), c.Last())
	}
}

// TestALineThatFailedIsCutOff before another one is written in its place.
func TestALineThatFailedIsCutOff(t *testing.T) {
	f, _, err := openFile(filepath.Join(t.TempDir(), "j"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.f.Close()
	d := &tornDisk{look: func([]byte) {}}
	f.disk = failingDisk{d}
	log := uuid.New()
	if err := f.write([]Entry{{Kind: kindBegan, Log: log, Epoch: 1, Person: string(bytes.Repeat([]byte("x"), 999))}}); err == nil {
		t.Fatal("no error")
	}
	f.disk = d
	if err := f.write([]Entry{{Kind: kindBegan, Log: log, Epoch: 1}}); err != nil {
		t.Fatal(err)
	}
	if c, err := parse(d.synced); err != nil || c.Torn || len(c.Marks) != 1 {
		t.Fatalf("%v: %+v", err, c)
	}
}

// failingDisk writes and cannot sync.
type failingDisk struct{ *tornDisk }

func (failingDisk) Sync() error { return fmt.Errorf("no sync") }
