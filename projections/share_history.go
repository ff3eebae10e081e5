package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/share"
)

// shareHistory is the recipients of shares that were deleted, kept to fill the
// form again. One that is shared with anew is not in it.
var shareHistory = &projection{
	name:   ShareHistory,
	tables: []*table{historyTable},
	events: []string{share.Deleted{}.Type(), share.Opened{}.Type()},
	reducer: func() reducer {
		return folding{[]*table{historyTable}, func(rows []*fold, e recorded) { history(rows[0], e) }}
	},
}

var historyTable = &table{
	name: "share_history", keys: 1,
	columns: []column{
		text("share"), text("owner"), text("kind"), text("recipient"), text("remark"), number("deleted_at"),
		number("position"), // of the deletion: the order of the list
	},
	indexes: [][]string{{"owner", "position"}},
}

func history(rows *fold, e recorded) {
	switch v := e.event.(type) {
	case share.Deleted:
		rows.put(v.Share, v.Owner, v.Kind, v.Recipient, v.Remark, micros(v.At), e.position)
	case share.Opened:
		rows.drop(key{v.Share})
	}
}

// HistoryEntry is the recipient of a share that was deleted.
type HistoryEntry struct {
	Share     string
	Kind      string // "email" or "phone"
	Recipient string // sealed
	Remark    string // sealed
	DeletedAt time.Time
}

type historyRow struct {
	bun.BaseModel `bun:"table:share_history,alias:h"`

	Share, Kind, Recipient, Remark string
	DeletedAt, Position            int64
}

// History lists the recipients of an owner's deleted shares, the last deleted
// first.
func (s *Store) History(ctx context.Context, owner string, p Page) (list []HistoryEntry, next string, err error) {
	before, err := p.after("history", newest)
	if err != nil {
		return nil, "", err
	}
	var rows []historyRow
	err = s.reading(ctx, []*projection{shareHistory}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().Model(&rows).Where("h.owner = ? AND h.position < ?", owner, before).OrderExpr("h.position DESC").Limit(p.fetch()).Scan(ctx)
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing the history of shares: %w", err)
	}
	rows, next = cut(rows, p, "history", func(r historyRow) int64 { return r.Position })
	for _, r := range rows {
		list = append(list, HistoryEntry{Share: r.Share, Kind: r.Kind, Recipient: r.Recipient, Remark: r.Remark, DeletedAt: fromMicros(r.DeletedAt)})
	}
	return list, next, nil
}
