package vault

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/uptrace/bun"
	"golang.org/x/crypto/argon2"
)

// application says that an account was registered with a login that nobody has proven
// yet. Until then anybody may register with it, and each can log in to their own account
// only (decision 0036).
type application struct {
	bun.BaseModel `bun:"table:vault_applications,alias:application"`

	Login   string `bun:"login,pk"` // keyed hash
	Account string `bun:"account,pk"`
	Made    int64  `bun:"made,notnull"` // Unix milliseconds
	MAC     string `bun:"mac,notnull"`
}

// mostApplications is how many of a login are looked at, the newest first. An application
// does not lapse: where nothing sends codes, nobody can prove an address.
const mostApplications = 256

// ErrApplied is returned for an account that has a password already.
var ErrApplied = errors.New("the account has applied before")

func (v *Vault) application(login, account string) *application {
	a := &application{Login: v.hidden("login of an application", login), Account: account, Made: v.now().UnixMilli()}
	a.MAC = v.macOfApplication(a)
	return a
}

func (v *Vault) macOfApplication(a *application) string {
	return v.mac("application", a.Login, a.Account, strconv.FormatInt(a.Made, 10))
}

// saltOf returns the salt of the passwords of all accounts that apply for one login: a
// log-in to any of them costs one hash, however many there are.
func (v *Vault) saltOf(hiddenLogin string) []byte {
	salt := []byte(v.mac("salt of an application", hiddenLogin))
	return salt[:todays.SaltLength]
}

// hashWith hashes a password with a salt, with today's parameters.
func hashWith(plain string, salt []byte) string {
	key := argon2.IDKey([]byte(plain), salt, todays.Iterations, todays.Memory, todays.Parallelism, todays.KeyLength)
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, todays.Memory, todays.Iterations, todays.Parallelism, encode(salt), encode(key))
}

// Apply sets the first password of an account that is registered with a login which it has
// not proven. It makes the key of the account's person in the same transaction, as
// SetPassword does. Errors: ErrApplied, and those of SetPassword.
func (v *Vault) Apply(ctx context.Context, account, login, plain string) error {
	as := v.application(login, account)
	row := &password{Account: account}
	err := v.hash(ctx, func() error { row.Hash = hashWith(plain, v.saltOf(as.Login)); return nil })
	if err != nil {
		return fmt.Errorf("setting the password of %s: %w", account, err)
	}
	row.MAC = v.macOfPassword(account, row.Hash)
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := v.ensureKey(ctx, tx, account); err != nil {
			return err
		}
		made, err := changed(tx.NewInsert().Model(row).On("CONFLICT (account) DO NOTHING").Exec(ctx))
		if err != nil {
			return err
		}
		if !made {
			return ErrApplied
		}
		_, err = tx.NewInsert().Model(as).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("setting the password of %s: %w", account, err)
	}
	return nil
}

// applicants returns the passwords of the accounts that have applied for a login and can
// be logged in to, the newest first, and their common salt.
func (v *Vault) applicants(ctx context.Context, login string) (rows []password, salt []byte, err error) {
	hidden := v.hidden("login of an application", login)
	var list []struct {
		Account, Hash, MAC, Bound string
		Made                      int64
	}
	err = v.db.NewSelect().Model((*application)(nil)).
		ColumnExpr("application.account, application.made, application.mac AS bound, p.hash, p.mac").
		Join("JOIN vault_passwords AS p ON p.account = application.account").
		Where("application.login = ?", hidden).
		OrderExpr("application.made DESC, application.account").Limit(mostApplications).Scan(ctx, &list)
	if err != nil {
		return nil, nil, fmt.Errorf("reading applications: %w", err)
	}
	for _, a := range list {
		bound := v.macOfApplication(&application{Login: hidden, Account: a.Account, Made: a.Made})
		if equal(a.Bound, bound) && equal(a.MAC, v.macOfPassword(a.Account, a.Hash)) {
			rows = append(rows, password{Account: a.Account, Hash: a.Hash, MAC: a.MAC})
		}
	}
	return rows, v.saltOf(hidden), nil
}

// matching returns the first of the passwords that a password is; it always costs one hash.
func matching(plain string, salt []byte, rows []password) (found password, ok bool) {
	hash := hashWith(plain, salt)
	for _, row := range rows {
		if subtle.ConstantTimeCompare([]byte(hash), []byte(row.Hash)) == 1 && !ok {
			found, ok = row, true
		}
	}
	return found, ok
}

// saltFor returns the salt that the next password of an account has: nil, unless it has
// applied for a login, for which there is one salt.
func (v *Vault) saltFor(ctx context.Context, account string) ([]byte, error) {
	row := &application{}
	err := v.db.NewSelect().Model(row).Where("account = ?", account).Limit(1).Scan(ctx)
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for an application: %w", err)
	}
	return v.saltOf(row.Login), nil
}

// EndApplications ends all applications for a login: somebody has proven it.
func (v *Vault) EndApplications(ctx context.Context, login string) error {
	err := v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*application)(nil)).Where("login = ?", v.hidden("login of an application", login)).Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("ending applications: %w", err)
	}
	return nil
}
