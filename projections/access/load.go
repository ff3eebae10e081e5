package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/eventstore"
)

// load fills the index from the read model, whose numbers it adopts.
func (x *Index) load(ctx context.Context) error {
	fresh, position, mark, err := x.read(ctx, 0)
	if err != nil {
		return fmt.Errorf("loading the privilege index: %w", err)
	}
	if err := x.loadedFrom(ctx, mark); err != nil {
		return fmt.Errorf("loading the privilege index: %w", err)
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	x.aside, x.effected = nil, position // what is loaded aside does not match these rows
	x.hold(fresh)
	x.mu.Lock()
	x.mark = mark
	x.position.Store(uint64(position)) // it may be lower than before
	x.mu.Unlock()
	x.admit()
	return nil
}

// errOldRows is returned if the read model has not come far enough yet.
var errOldRows = errors.New("the read model of privileges lags")

// read builds contents from the read model; errOldRows if it has not reached a position.
func (x *Index) read(ctx context.Context, least eventstore.Position) (fresh *contents, position eventstore.Position, mark eventstore.Mark, err error) {
	l := &loading{most: x.cfg.Numbers}
	l.begin()
	position, mark, err = x.cfg.Source.LoadPrivileges(ctx, Loader{
		Grant: l.grant, Conditions: l.conditions, Account: l.account, Device: l.device, Domain: l.domain, Key: l.key, Again: l.begin,
		Begin: func(position eventstore.Position, lacks bool) error {
			if position < least {
				return errOldRows
			}
			l.contents.lacks.Store(lacks)
			return nil
		},
	})
	l.fill()
	l.filling.Wait()
	if err == nil {
		err = l.err
	}
	if err == nil && position < least {
		err = errOldRows
	}
	if err != nil {
		return nil, 0, eventstore.Mark{}, err
	}
	l.limit()
	l.accounts.complete()
	l.devices.complete()
	l.contents.names.load(l.accounts, l.devices)
	return l.contents, position, mark, nil
}

// loadedFrom returns ErrOtherEpoch if the rows are still those of a log that was restored
// since. The subscription finds any other misfit.
func (x *Index) loadedFrom(ctx context.Context, mark eventstore.Mark) error {
	if x.life == 0 || mark.Log == uuid.Nil { // the first time the read models were just compared with the log
		return nil
	}
	err := x.check(ctx, mark)
	if misfit(err) {
		return nil
	}
	return err
}

// loading is an index while it is loaded. Its words are collected first, so that they are
// put into a table of the right size, while the rest is loaded.
type loading struct {
	*contents
	most     uint32 // numbers
	accounts *interner
	devices  *interner
	pieces   [][]uint64
	words    int
	limited  map[pair][]privilege.Condition
	filled   bool
	filling  sync.WaitGroup
	err      error // the first one
}

// begin discards what was loaded.
func (l *loading) begin() {
	l.filling.Wait()
	*l = loading{most: l.most, contents: newContents(l.most), accounts: newInterner(l.most), devices: newInterner(l.most), limited: map[pair][]privilege.Condition{}}
}

// loadedPiece is how many words are collected in one piece of memory.
const loadedPiece = 1 << 16

func (l *loading) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

func (l *loading) account(no uint32, id ids.Account) {
	l.fill()
	if _, err := l.accounts.keep(string(id), no); err != nil {
		l.fail("account %d: %w", no, err)
	}
}

// device skips a removed device: being unknown is as good, as its id is never reused.
func (l *loading) device(no uint32, id ids.Device, owner uint32, live bool) {
	l.fill()
	if !live {
		if err := l.devices.skip(no); err != nil {
			l.fail("device %d: %w", no, err)
		}
		return
	}
	if _, err := l.devices.keep(string(id), no); err != nil {
		l.fail("device %d: %w", no, err)
		return
	}
	if owner > maxNumber {
		l.fail("device %d: its owner has the number %d", no, owner)
		return
	}
	l.contents.devices.set(no, owner)
}

func (l *loading) grant(account, device uint32, channel uint16, mask uint8) {
	if l.filled {
		l.fail("a grant came behind an account or a device")
		return
	}
	if account == 0 || account > maxNumber || device == 0 || device > maxNumber || channel > maxChannel || !privilege.Set(mask&^LimitedMask).Valid() {
		l.fail("the grant of account %d on device %d, channel %d makes no sense", account, device, channel)
		return
	}
	word := pairOf(account, device).word(int(channel)) | uint64(mask)<<maskShift
	if channel == 0 {
		word |= entry
	}
	if word&maskBits == 0 {
		return
	}
	last := len(l.pieces) - 1
	if last < 0 || len(l.pieces[last]) == loadedPiece {
		l.pieces = append(l.pieces, make([]uint64, 0, loadedPiece))
		last++
	}
	l.pieces[last] = append(l.pieces[last], word)
	l.words++
}

// conditions are those of a pair.
func (l *loading) conditions(account, device uint32, list []privilege.Condition) {
	l.limited[pairOf(account, device)] = list
}

// limit completes the grants with conditions, when the words are in their table. A word
// whose conditions are missing allows nothing.
func (l *loading) limit() {
	t := *l.contents.table.current.Load()
	for p, list := range l.limited {
		channels := map[int]privilege.Set{}
		for channel := 1; channel <= int(*l.contents.devices.highest(uint32(p>>devShift) & maxNumber)); channel++ {
			if w, _ := t.find(p, channel); w != 0 {
				channels[channel] = privilege.Set(w & maskBits >> maskShift)
			}
		}
		l.contents.limits.set(p, &limited{channels: channels, conditions: privilege.Ready(list)})
	}
}

// atOnce is how many slots are read before they are used: the processor fetches them from
// memory in parallel, which is most of the work.
const atOnce = 32

// fill starts putting the words into their table, once.
func (l *loading) fill() {
	if !l.filled {
		l.filled = true
		l.filling.Go(l.fillTable)
	}
}

// fillTable builds the table of the words. It has no readers yet.
func (l *loading) fillTable() {
	fresh := make(words, roomFor(l.words))
	for _, piece := range l.pieces {
		for some := range slices.Chunk(piece, atOnce) {
			var slots [atOnce]int
			var highest [atOnce]*uint16
			for i, w := range some {
				slots[i] = fresh.slot(pair(w&pairBits), blockOf(channelOf(w)))
				highest[i] = l.contents.devices.highest(uint32(w>>devShift) & maxNumber)
				atomic.LoadUint64(&fresh[slots[i]])
			}
			for i, w := range some {
				fresh.insert(slots[i], w)
				*highest[i] = max(*highest[i], uint16(channelOf(w)))
			}
		}
	}
	l.pieces = nil
	l.contents.table.replace(fresh, l.words)
}

func (l *loading) domain(account, device uint32, id ids.Device, domain string) {
	l.contents.names.setDomain(pairOf(account, device), account, id, domain)
}

// key skips a revoked key: its name is never reused.
func (l *loading) key(name ids.Key, account ids.Account, device ids.Device, expires time.Time) {
	if account == "" {
		return
	}
	l.contents.names.addKey(Key{Name: name, Account: account, Device: device, Expires: expires})
}
