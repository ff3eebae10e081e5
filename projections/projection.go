package projections

import (
	"slices"
	"time"

	"latchkey/domain/catalogue"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// projection is one read model.
type projection struct {
	name   string
	tables []*table // the first one's rows are what Status counts
	events []string // the names of those that it reads
	joins  []string // the read models whose tables its queries need as well
	// reducer makes what turns events into rows.
	reducer func() reducer
}

func (p *projection) reads(name string) bool { return slices.Contains(p.events, name) }

// The names of the projections, for waiting and rebuilding.
const (
	SentShares     = "sent_shares"
	ReceivedShares = "received_shares"
	ShareHistory   = "share_history"
	Devices        = "devices"
	Accounts       = "accounts"
	Privileges     = "privileges"
)

// policies is what follows events, and has a checkpoint like a projection.
const policies = "policies"

var all = []*projection{sentShares, receivedShares, shareHistory, devices, accounts, privileges}

// Names lists the projections.
func Names() []string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.name
	}
	return names
}

func find(name string) *projection {
	i := slices.IndexFunc(all, func(p *projection) bool { return p.name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// recorded is a decoded event with its place in the log.
type recorded struct {
	name     string // of its type
	event    event.Event
	position int64
	revision int64 // in its stream
	size     int   // of its data, in bytes
}

// reducer turns events into rows. It may remember what the rows say, as long as
// nobody else writes them.
type reducer interface {
	// reduce writes what the events do, in their order.
	reduce(w *writer, events []recorded) error
	// forget is called when the rows may have changed otherwise: another process
	// wrote, a transaction failed, a rebuild swapped the tables.
	forget()
}

// folding is a reducer that looks at one event at a time and reads no row.
type folding struct {
	tables []*table
	apply  func(rows []*fold, e recorded)
}

func (f folding) reduce(w *writer, events []recorded) error {
	rows := make([]*fold, len(f.tables))
	for i, t := range f.tables {
		rows[i] = newFold(t)
	}
	for _, e := range events {
		f.apply(rows, e)
	}
	for _, r := range rows {
		if err := r.write(w); err != nil {
			return err
		}
	}
	return nil
}

func (folding) forget() {}

// micros is a time as it is stored: microseconds since 1970, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// grantsText is how grants are stored: a pair of bytes for the channel, one for
// the privileges, in hexadecimal; "0001" + "1f".
func grantsText(list []share.Grant) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 6*len(list))
	for _, g := range list {
		c, p := uint16(g.Channel), uint8(g.Privileges)
		b = append(b, digits[c>>12], digits[c>>8&15], digits[c>>4&15], digits[c&15], digits[p>>4], digits[p&15])
	}
	return string(b)
}

func fromGrantsText(s string) []share.Grant {
	list := make([]share.Grant, 0, len(s)/6)
	for ; len(s) >= 6; s = s[6:] {
		c := digit(s[0])<<12 | digit(s[1])<<8 | digit(s[2])<<4 | digit(s[3])
		list = append(list, share.Grant{Channel: c, Privileges: privilege.Set(digit(s[4])<<4|digit(s[5])) & privilege.All})
	}
	return list
}

func digit(c byte) int {
	if c >= 'a' {
		return int(c - 'a' + 10)
	}
	return int(c - '0')
}

// shareEvents are all that happens to shares.
var shareEvents = catalogue.Names(func(e event.Event) bool {
	_, is := e.(share.Event)
	return is
})
