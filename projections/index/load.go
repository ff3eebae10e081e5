package index

import (
	"context"
	"fmt"
	"time"

	"latchkey/domain/privilege"
)

// load fills the index from the read model, whose numbers it takes over.
func (x *Index) load(ctx context.Context) error {
	l := &loading{index: x}
	x.table.eager = true
	position, err := x.cfg.Source.LoadPrivileges(ctx, Loader{Account: l.account, Device: l.device, Grant: l.grant, Domain: l.domain, Key: l.key})
	if err == nil {
		err = l.err
	}
	if err != nil {
		return fmt.Errorf("loading the privilege index: %w", err)
	}
	l.entry(0)
	x.table.eager = false
	x.table.compact()
	x.advance(position)
	x.state.Store(stateLive) // it denies still, until it was measured to be fresh
	return nil
}

// loading is an index while it is loaded.
type loading struct {
	index *Index
	sees  pair  // whose channel 0 came last, if it was not dealt with
	err   error // the first one
}

func (l *loading) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

func (l *loading) account(no uint32, id string) {
	if _, err := l.index.names.accounts.add(id, no); err != nil {
		l.fail("account %d: %w", no, err)
	}
}

func (l *loading) device(no uint32, id string, owner uint32, live bool) {
	if _, err := l.index.names.devices.add(id, no); err != nil {
		l.fail("device %d: %w", no, err)
		return
	}
	if owner > maxNumber {
		l.fail("device %d: its owner has the number %d", no, owner)
		return
	}
	if !live && owner != 0 {
		owner |= gone
	}
	l.index.devices.set(no, owner)
}

func (l *loading) grant(account, device uint32, channel uint16, mask uint8) {
	if account == 0 || account > maxNumber || device == 0 || device > maxNumber || channel > maxChannel || !privilege.Set(mask).Valid() {
		l.fail("the grant of account %d on device %d, channel %d makes no sense", account, device, channel)
		return
	}
	p := pairOf(account, device)
	if channel == 0 {
		l.entry(p)
		return
	}
	l.index.set(p, device, int(channel), privilege.Set(mask))
}

// entry keeps the pair until its other rows, which stand beside this one, are
// there: most need no entry then.
func (l *loading) entry(p pair) {
	if l.sees != 0 && !l.index.table.sees(l.sees) {
		l.index.table.set(l.sees, 0, entry)
	}
	l.sees = p
}

func (l *loading) domain(account, device uint32, id, domain string) {
	l.index.names.setDomain(pairOf(account, device), account, id, domain)
}

func (l *loading) key(name, account, device string, expires time.Time) {
	l.index.names.addKey(Key{Name: name, Account: account, Device: device, Expires: expires})
}
