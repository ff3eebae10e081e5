package vault

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Push is a browser that an account wants to be notified on (RFC 8030, RFC 8291). It lasts
// as long as the session that made it. Its address and its keys are sealed.
type Push struct {
	ID       string    `json:"-"`
	Account  string    `json:"-"`
	Created  time.Time `json:"-"`
	Current  bool      `json:"-"` // it was made with the session that asks
	Endpoint string    `json:"endpoint"`
	P256DH   string    `json:"p256dh"`
	Auth     string    `json:"auth"`
}

// pushRow is the row of a Push.
type pushRow struct {
	bun.BaseModel `bun:"table:vault_pushes,alias:p"`

	ID      string `bun:"id,pk"`
	Account string `bun:"account,notnull"`
	Session string `bun:"session,notnull"` // token of its row
	Value   []byte `bun:"value,notnull"`   // sealed
	Created int64  `bun:"created,notnull"` // Unix milliseconds
}

func boundPush(id, account, session string) string {
	return "push " + id + " " + account + " " + session
}

// AddPush keeps a browser for the session with a token, at most so many of an account: the
// oldest make room. The same address of the same account is replaced.
func (v *Vault) AddPush(ctx context.Context, token string, n Push, most int) (Push, error) {
	value, err := json.Marshal(n)
	if err != nil {
		return Push{}, fmt.Errorf("encoding a browser: %w", err)
	}
	now := v.now()
	row := &pushRow{ID: v.mac("browser", n.Account, n.Endpoint), Account: n.Account, Session: v.tokenHash(token), Created: now.UnixMilli()}
	row.Value = v.box.seal(boundPush(row.ID, row.Account, row.Session), value)
	err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(row).On("CONFLICT (id) DO UPDATE").Set("session = EXCLUDED.session, value = EXCLUDED.value, created = EXCLUDED.created").Exec(ctx)
		if err != nil {
			return err
		}
		var over []string
		err = tx.NewSelect().Model((*pushRow)(nil)).Column("id").Where("account = ? AND id <> ?", n.Account, row.ID).OrderExpr("created DESC, id").Offset(int64(most)-1).Limit(100).Scan(ctx, &over)
		if err == nil && len(over) > 0 {
			_, err = tx.NewDelete().Model((*pushRow)(nil)).Where("id IN (?)", bun.List(over)).Exec(ctx)
		}
		return err
	})
	if err != nil {
		return Push{}, fmt.Errorf("keeping a browser of %s: %w", n.Account, err)
	}
	n.ID, n.Created, n.Current = row.ID, millis(row.Created), true
	return n, nil
}

// Pushes lists the browsers of an account whose sessions go on, the newest first, marking
// those that were made with a token. Endpoints and keys are left out.
func (v *Vault) Pushes(ctx context.Context, account, token string) ([]Push, error) {
	live, err := v.liveSessions(ctx, v.db, account)
	if err != nil {
		return nil, fmt.Errorf("listing the browsers of %s: %w", account, err)
	}
	var rows []pushRow
	err = v.db.NewSelect().Model(&rows).ExcludeColumn("value").Where("account = ?", account).OrderExpr("created DESC, id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the browsers of %s: %w", account, err)
	}
	sessions := make(map[string]bool, len(live))
	for _, s := range live {
		sessions[s.Token] = true
	}
	current, list := v.tokenHash(token), []Push{}
	for _, row := range rows {
		if sessions[row.Session] {
			list = append(list, Push{ID: row.ID, Account: account, Created: millis(row.Created), Current: row.Session == current})
		}
	}
	return list, nil
}

// PushOf returns a browser of an account. ErrNotFound: there is none, or its session has
// ended.
func (v *Vault) PushOf(ctx context.Context, account, id string) (Push, error) {
	row := &pushRow{ID: id}
	err := v.db.NewSelect().Model(row).WherePK().Where("account = ?", account).Scan(ctx)
	if err == nil {
		s := &session{Token: row.Session}
		err = v.db.NewSelect().Model(s).WherePK().Scan(ctx)
		if err == nil && (s.Account != account || v.now().Unix() >= s.Expires || !equal(s.MAC, v.macOfSession(s))) {
			err = ErrNotFound
		}
	}
	if notFound(err) {
		err = ErrNotFound
	}
	if err != nil {
		return Push{}, fmt.Errorf("reading a browser: %w", err)
	}
	var p Push
	value, err := v.box.open(boundPush(row.ID, row.Account, row.Session), row.Value)
	if err == nil {
		err = json.Unmarshal(value, &p)
	}
	if err != nil {
		return Push{}, fmt.Errorf("reading a browser: %w", err)
	}
	p.ID, p.Account, p.Created = row.ID, row.Account, millis(row.Created)
	return p, nil
}

// ForgetPush forgets a browser of an account; false: it has none.
func (v *Vault) ForgetPush(ctx context.Context, account, id string) (had bool, err error) {
	err = v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
		had, err = changed(tx.NewDelete().Model((*pushRow)(nil)).Where("account = ? AND id = ?", account, id).Exec(ctx))
		return had, err
	}, true)
	if err != nil {
		return false, fmt.Errorf("forgetting a browser: %w", err)
	}
	return had, nil
}

// AnyPush reports whether any account has a browser.
func (v *Vault) AnyPush(ctx context.Context) (bool, error) {
	some, err := v.db.NewSelect().Model((*pushRow)(nil)).Exists(ctx)
	return some, wrapOutbox("looking for browsers", err)
}

// PushesOf lists the ids of the browsers of accounts, by account. Their sessions may have
// ended.
func (v *Vault) PushesOf(ctx context.Context, accounts []string) (map[string][]string, error) {
	list := map[string][]string{}
	for at := 0; at < len(accounts); at += copiesAtOnce {
		var rows []pushRow
		err := v.db.NewSelect().Model(&rows).Column("id", "account").Where("account IN (?)", bun.List(accounts[at:min(at+copiesAtOnce, len(accounts))])).Scan(ctx)
		if err != nil {
			return nil, fmt.Errorf("looking for browsers: %w", err)
		}
		for _, row := range rows {
			list[row.Account] = append(list[row.Account], row.ID)
		}
	}
	return list, nil
}

// DropPushes forgets the browsers whose sessions have ended.
func (v *Vault) DropPushes(ctx context.Context) error {
	orphans := func(q bun.QueryBuilder) bun.QueryBuilder {
		return q.Where("NOT EXISTS (SELECT 1 FROM vault_sessions AS s WHERE s.token = p.session)")
	}
	some, err := v.db.NewSelect().Model((*pushRow)(nil)).ApplyQueryBuilder(orphans).Exists(ctx)
	if err == nil && some {
		err = v.forgetting(ctx, func(ctx context.Context, tx bun.Tx) (bool, error) {
			return changed(tx.NewDelete().Model((*pushRow)(nil)).ApplyQueryBuilder(orphans).Exec(ctx))
		}, true)
	}
	if err != nil {
		return fmt.Errorf("forgetting browsers: %w", err)
	}
	return nil
}

// settingPush is the setting with the key that push services know us by (RFC 8292).
const settingPush = "push"

// PushKey returns that key, making it the first time: base64url without padding, the
// private one 32 bytes and the public one an uncompressed point of P-256.
func (v *Vault) PushKey(ctx context.Context) (private, public string, err error) {
	row := &setting{Name: settingPush}
	err = v.db.NewSelect().Model(row).WherePK().Scan(ctx)
	if notFound(err) {
		var made *ecdh.PrivateKey
		if made, err = ecdh.P256().GenerateKey(rand.Reader); err != nil {
			return "", "", fmt.Errorf("making the key for push services: %w", err)
		}
		n := &setting{Name: settingPush, Value: v.box.seal("setting "+settingPush, made.Bytes())}
		err = v.durably(ctx, func(ctx context.Context, tx bun.Tx) error {
			_, err := tx.NewInsert().Model(n).On("CONFLICT (name) DO NOTHING").Exec(ctx)
			return err
		})
		if err == nil { // of several processes, the first one's counts
			err = v.db.NewSelect().Model(row).WherePK().Scan(ctx)
		}
	}
	if err != nil {
		return "", "", fmt.Errorf("reading the key for push services: %w", err)
	}
	raw, err := v.box.open("setting "+settingPush, row.Value)
	if err != nil {
		return "", "", fmt.Errorf("reading the key for push services: %w", err)
	}
	key, err := ecdh.P256().NewPrivateKey(raw)
	if err != nil {
		return "", "", fmt.Errorf("reading the key for push services: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode(raw), encode(key.PublicKey().Bytes()), nil
}
