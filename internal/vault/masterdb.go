package vault

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// openKey is a master key that is stored with the data it protects.
type openKey struct {
	bun.BaseModel `bun:"table:vault_open_key"`

	ID  int    `bun:"id,pk"`
	Key string `bun:"key,notnull"`
}

// MasterKeyInDatabase reads the master key that is stored in the database itself, and
// creates it if missing. It serves several processes that share one database and were
// given no key file; a copy of the whole database then includes the key.
func MasterKeyInDatabase(ctx context.Context, db *bun.DB) (MasterKey, error) {
	if _, err := db.NewCreateTable().Model((*openKey)(nil)).IfNotExists().Exec(ctx); err != nil {
		return MasterKey{}, fmt.Errorf("creating the table of the vault's key: %w", err)
	}
	row := &openKey{ID: 1, Key: NewMasterKey().Text()}
	if _, err := db.NewInsert().Model(row).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
		return MasterKey{}, fmt.Errorf("storing the vault's key: %w", err)
	}
	return ReadMasterKeyInDatabase(ctx, db)
}

// ReadMasterKeyInDatabase reads the master key that is stored in the database.
// ErrNotFound: there is none.
func ReadMasterKeyInDatabase(ctx context.Context, db *bun.DB) (MasterKey, error) {
	there, err := hasTable(ctx, db, "vault_open_key")
	if err != nil {
		return MasterKey{}, err
	}
	row := &openKey{ID: 1}
	if there {
		err = db.NewSelect().Model(row).WherePK().Scan(ctx)
	}
	if !there || notFound(err) {
		return MasterKey{}, fmt.Errorf("the vault's key: %w", ErrNotFound)
	}
	if err != nil {
		return MasterKey{}, fmt.Errorf("reading the vault's key: %w", err)
	}
	k, err := ParseMasterKey([]byte(row.Key))
	if err != nil {
		return MasterKey{}, fmt.Errorf("reading the vault's key: %w", err)
	}
	return k, nil
}
