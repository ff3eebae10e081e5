package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"latchkey/domain/account"
	"latchkey/eventstore"
	"latchkey/projections/engine"
)

// Accounts is the read model of logins and stream keys.
const Accounts = "accounts"

// accounts has the account of each login, and the stream keys of each account.
var accounts = &engine.Projection{
	Name:   Accounts,
	Tables: []*engine.Table{loginTable, proofTable, streamKeyTable, peopleTable},
	Events: []string{
		account.LoginClaimed{}.Type(), account.LoginReleased{}.Type(), account.Registered{}.Type(), account.AddressVerified{}.Type(), account.AddressRemoved{}.Type(), account.PrimaryAddressChanged{}.Type(),
		account.ProfileChanged{}.Type(), account.Closed{}.Type(), account.StreamKeyAdded{}.Type(), account.PublishingKeyAdded{}.Type(), account.StreamKeyRevoked{}.Type(),
	},
	Fold: func(rows []*engine.Fold, e engine.Record) { accountRows(rows[0], rows[1], rows[2], rows[3], e) },
}

// loginTable has the account of each login: of addresses, and of user names. Only events of
// the login's own stream change it.
var loginTable = &engine.Table{
	Name: "account_logins", Keys: 1,
	Columns: []engine.Column{engine.Text("login"), engine.Text("account")},
	Indexes: [][]string{{"account"}},
}

// proofTable has the logins that accounts have verified. It counts only for the account
// that has the login: two may say that they verified it.
var proofTable = &engine.Table{
	Name: "account_proofs", Keys: 2,
	Columns: []engine.Column{engine.Text("account"), engine.Text("login"), engine.Number("verified")},
}

// peopleTable has the address and the name that an account is shown with, sealed.
var peopleTable = &engine.Table{
	Name: "account_people", Keys: 1,
	Columns: []engine.Column{engine.Text("account"), engine.Text("kind"), engine.Text("address"), engine.Text("name")},
}

const (
	personKind    = 1
	personAddress = 2
	personName    = 3
)

var streamKeyTable = &engine.Table{
	Name: "stream_keys", Keys: 1,
	Columns: []engine.Column{
		engine.Text("name"), engine.Text("account"), engine.Text("label"), engine.Text("device"), engine.Number("expires"), engine.Number("added_at"),
		engine.Number("position"), // of the addition: the order of the list
	},
	Indexes: [][]string{{"account", "position"}},
}

func accountRows(logins, proofs, keys, people *engine.Fold, e engine.Record) {
	switch v := e.Event.(type) {
	case account.LoginClaimed:
		logins.Put(v.Login, v.Account)
	case account.LoginReleased:
		logins.Drop(engine.Key{v.Login})
	case account.Registered:
		if !v.Applied { // else the login is not the account's
			logins.Put(v.Login, v.Account)
		}
		people.Put(v.Account, v.Kind, v.Address, v.Name)
	case account.AddressVerified:
		proofs.Put(v.Account, v.Login, micros(v.At))
	case account.AddressRemoved:
		proofs.Drop(engine.Key{v.Account, v.Login})
		if v.NextLogin != "" {
			people.Set(engine.Key{v.Account}, engine.To(personKind, v.NextKind), engine.To(personAddress, v.NextAddress))
		}
	case account.PrimaryAddressChanged:
		people.Set(engine.Key{v.Account}, engine.To(personKind, v.Kind), engine.To(personAddress, v.Address))
	case account.Closed:
		proofs.Empty(v.Account)
		people.Drop(engine.Key{v.Account})
	case account.ProfileChanged:
		people.Set(engine.Key{v.Account}, engine.To(personName, v.Name))
	case account.StreamKeyAdded:
		keys.Put(v.Key, v.Account, v.Label, v.Device, micros(v.Expires), micros(v.At), e.Position)
	case account.PublishingKeyAdded:
		keys.Put(v.Key, v.Account, v.Label, v.Device, micros(v.Expires), micros(v.At), e.Position)
	case account.StreamKeyRevoked:
		keys.Drop(engine.Key{v.Key})
	}
}

// StreamKey is a stream key that was not revoked; it may have expired.
type StreamKey struct {
	bun.BaseModel `bun:"table:stream_keys,alias:k"`

	Name     string
	Account  string
	Label    string // sealed
	Device   string // "" for every device
	Expires  Micros // 0: never
	AddedAt  Micros
	Position int64 // of the addition, in the log
}

var streamKeyList = engine.List[StreamKey]{Name: "keys", Place: func(k StreamKey) int64 { return k.Position }}

// StreamKeys lists an account's stream keys in the order of their creation.
func (s *Store) StreamKeys(ctx context.Context, account string, p Page) (list []StreamKey, next string, err error) {
	if _, err := streamKeyList.After(p); err != nil {
		return nil, "", err
	}
	err = s.Read(ctx, []string{Accounts}, p.AtLeast, func(ctx context.Context, tx bun.Tx) error {
		list, next, err = streamKeyList.Page(p, func(after, n int64) (rows []StreamKey, err error) {
			err = tx.NewSelect().Model(&rows).Where("k.account = ? AND k.position > ?", account, after).OrderExpr("k.position").Limit(n).Scan(ctx)
			return rows, err
		})
		return err
	})
	return list, next, wrapped("listing stream keys", err)
}

// ofAccount is the condition that a row of account_logins has a login under which an
// account receives shares.
func (s *Store) ofAccount() string {
	if s.proofs {
		return "account = ? AND EXISTS (SELECT 1 FROM account_proofs AS p WHERE p.account = account_logins.account AND p.login = account_logins.login)"
	}
	return "account = ?"
}

// Person is the person of an account, as shown to the people whom they share with.
type Person struct {
	Kind    string // of the address: "email" or "phone"
	Address string // sealed
	Name    string // sealed
}

// Person returns the person of an account; the zero Person if it does not exist. For
// atLeast see Page.
func (s *Store) Person(ctx context.Context, account string, atLeast eventstore.Position) (p Person, err error) {
	err = s.Read(ctx, []string{Accounts}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().TableExpr("account_people").Column("kind", "address", "name").
			Where("account = ?", account).Limit(1).Scan(ctx, &p)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Person{}, nil
	}
	return p, wrapped("looking up who has an account", err)
}

// Login returns the account that has a login, by the keyed hash of its address.
func (s *Store) Login(ctx context.Context, hash string) (account string, ok bool, err error) {
	err = s.DB().NewSelect().TableExpr("account_logins").Column("account").Where("login = ?", hash).Scan(ctx, &account)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("looking up a login: %w", err)
	}
	return account, true, nil
}

// LoginsOf returns the logins under which an account receives shares. For atLeast see
// Page.
func (s *Store) LoginsOf(ctx context.Context, account string, atLeast eventstore.Position) (logins []string, err error) {
	err = s.Read(ctx, []string{Accounts}, atLeast, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().TableExpr("account_logins").Column("login").Where(s.ofAccount(), account).OrderExpr("login").Scan(ctx, &logins)
	})
	return logins, wrapped("reading the logins of an account", err)
}
