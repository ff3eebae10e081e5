package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/account"
)

// accounts is which login is whose, and who has which stream keys.
var accounts = &projection{
	name:   Accounts,
	tables: []*table{loginTable, streamKeyTable},
	events: []string{account.LoginClaimed{}.Type(), account.Registered{}.Type(), account.StreamKeyAdded{}.Type(), account.StreamKeyRevoked{}.Type()},
	reducer: func() reducer {
		return folding{[]*table{loginTable, streamKeyTable}, func(rows []*fold, e recorded) { accountRows(rows[0], rows[1], e) }}
	},
}

var loginTable = &table{
	name: "account_logins", keys: 1,
	// The last three are those of a registration, "" for a mere claim: the kind
	// of the address, and address and name, sealed.
	columns: []column{text("login"), text("account"), text("kind"), text("address"), text("name")},
	indexes: [][]string{{"account"}},
}

var streamKeyTable = &table{
	name: "stream_keys", keys: 1,
	columns: []column{
		text("name"), text("account"), text("label"), text("device"), number("expires"), number("added_at"),
		number("position"), // of the addition: the order of the list
	},
	indexes: [][]string{{"account", "position"}},
}

func accountRows(logins, keys *fold, e recorded) {
	switch v := e.event.(type) {
	case account.LoginClaimed:
		logins.put(v.Login, v.Account, "", "", "")
	case account.Registered:
		logins.put(v.Login, v.Account, v.Kind, v.Address, v.Name)
	case account.StreamKeyAdded:
		keys.put(v.Key, v.Account, v.Label, v.Device, micros(v.Expires), micros(v.At), e.position)
	case account.StreamKeyRevoked:
		keys.drop(key{v.Key})
	}
}

// StreamKey is a stream key that was not revoked; it may have expired.
type StreamKey struct {
	Name    string
	Label   string // sealed
	Device  string // "" for every device
	AddedAt time.Time
	Expires time.Time // zero: never
}

type streamKeyRow struct {
	bun.BaseModel `bun:"table:stream_keys,alias:k"`

	Name, Label, Device        string
	Expires, AddedAt, Position int64
}

// StreamKeys lists an account's stream keys in the order in which they were
// made.
func (s *Store) StreamKeys(ctx context.Context, account string, p Page) (list []StreamKey, next string, err error) {
	after, err := p.after("keys", 0)
	if err != nil {
		return nil, "", err
	}
	var rows []streamKeyRow
	err = s.reading(ctx, []*projection{accounts}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().Model(&rows).Where("k.account = ? AND k.position > ?", account, after).OrderExpr("k.position").Limit(p.fetch()).Scan(ctx)
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing stream keys: %w", err)
	}
	rows, next = cut(rows, p, "keys", func(r streamKeyRow) int64 { return r.Position })
	for _, r := range rows {
		list = append(list, StreamKey{Name: r.Name, Label: r.Label, Device: r.Device, AddedAt: fromMicros(r.AddedAt), Expires: fromMicros(r.Expires)})
	}
	return list, next, nil
}

// Person is who an account belongs to, as the people see it whom it deals with.
type Person struct {
	Kind    string // of the address: "email" or "phone"
	Address string // sealed
	Name    string // sealed
}

// Person returns who has an account; the zero Person if nobody has. For atLeast
// see Page.
func (s *Store) Person(ctx context.Context, account string, atLeast uint64) (p Person, err error) {
	err = s.reading(ctx, []*projection{accounts}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().TableExpr("account_logins").Column("kind", "address", "name").
			Where("account = ? AND kind <> ''", account).Limit(1).Scan(ctx, &p)
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Person{}, fmt.Errorf("looking up who has an account: %w", err)
	}
	return p, nil
}

// Login is the account that has a login, by the keyed hash of its address.
func (s *Store) Login(ctx context.Context, hash string) (account string, ok bool, err error) {
	err = s.queries.NewSelect().TableExpr("account_logins").Column("account").Where("login = ?", hash).Scan(ctx, &account)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("looking a login up: %w", err)
	}
	return account, true, nil
}
