package projections

import (
	"context"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
	"latchkey/projections/engine"
)

// ShareHistory is the read model of deleted shares.
const ShareHistory = "share_history"

// shareHistory has the recipients of deleted shares, to prefill the form. A recipient
// that is shared with again is not in it.
var shareHistory = &engine.Projection{
	Name:   ShareHistory,
	Tables: []*engine.Table{historyTable},
	Events: []string{share.Deleted{}.Type(), share.Opened{}.Type(), share.RecipientForgotten{}.Type()},
	Joins:  []string{Recipients, Devices},
	Fold:   func(rows []*engine.Fold, e engine.Record) { history(rows[0], e) },
}

var historyTable = &engine.Table{
	Name: "share_history", Keys: 1,
	Columns: []engine.Column{
		engine.Text("share"), engine.Text("owner"), engine.Text("kind"), engine.Text("recipient"), engine.Text("remark"), engine.Number("deleted_at"),
		engine.Number("position"), // of the deletion: the order of the list
	},
	Indexes: [][]string{{"owner", "position"}},
}

func history(rows *engine.Fold, e engine.Record) {
	switch v := e.Event.(type) {
	case share.Deleted:
		rows.Put(v.Share, v.Owner, v.Kind, v.Recipient, v.Remark, micros(v.At), e.Position)
	case share.Opened:
		rows.Drop(engine.Key{v.Share})
	case share.RecipientForgotten:
		rows.Drop(engine.Key{v.Share})
	}
}

// HistoryEntry is the recipient of a share that was deleted.
type HistoryEntry struct {
	bun.BaseModel `bun:"table:share_history,alias:h"`

	Share     string
	Owner     string // account
	Kind      string // "email" or "phone"
	Recipient string // sealed
	Remark    string // sealed
	DeletedAt Micros
	Position  int64 // of the deletion, in the log

	Terms   Terms             // of the whole share
	Devices []RecipientDevice `bun:"-"`
}

func (e *HistoryEntry) formOf() (string, *[]RecipientDevice) { return e.Share, &e.Devices }

var historyList = engine.List[HistoryEntry]{
	Name: "history", Start: engine.Newest, Place: func(e HistoryEntry) int64 { return e.Position },
	Weight: func(e HistoryEntry) int { return len(e.Recipient) + len(e.Remark) + weightOfForm(e.Devices) },
}

// History lists the recipients of an owner's deleted shares, the last deleted
// first. match may be nil: then all of them are wanted.
func (s *Store) History(ctx context.Context, owner string, p Page, match Match[HistoryEntry]) (list []HistoryEntry, next string, err error) {
	if _, err := historyList.After(p); err != nil {
		return nil, "", err
	}
	err = s.Read(ctx, []string{ShareHistory, Recipients, Devices}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		read := func(before, n int64) (rows []HistoryEntry, err error) {
			err = tx.NewSelect().Model(&rows).ColumnExpr("h.*, coalesce(r.terms, '') AS terms").Join("LEFT JOIN recipients AS r ON r.share = h.share").Where("h.owner = ? AND h.position < ?", owner, before).OrderExpr("h.position DESC").Limit(n).Scan(ctx)
			return rows, err
		}
		fill := func(rows []HistoryEntry) error { return addForms(ctx, tx, owner, rows, (*HistoryEntry).formOf) }
		list, next, err = historyList.Search(p, searched, read, match, fill)
		return err
	})
	return list, next, wrapped("listing the history of shares", err)
}
