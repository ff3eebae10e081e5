package vault

import (
	"context"
	"fmt"
)

// Knows reports whether the vault has the key of a person, or remembers that it
// was destroyed. A person with text in the log of whom it knows nothing was lost
// with a part of the vault.
func (v *Vault) Knows(ctx context.Context, person string) (bool, error) {
	known, err := v.db.NewSelect().Model((*subject)(nil)).Where("subject = ?", person).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("looking for the key of %s: %w", person, err)
	}
	return known, nil
}

// HasPassword reports whether the account has a password.
func (v *Vault) HasPassword(ctx context.Context, account string) (bool, error) {
	has, err := v.db.NewSelect().Model((*password)(nil)).Where("account = ?", account).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("looking for the password of %s: %w", account, err)
	}
	return has, nil
}
