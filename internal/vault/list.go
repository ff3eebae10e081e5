package vault

import (
	"context"
	"fmt"
)

// StreamSecrets calls each for a limited number of stream keys and their secrets, in no
// particular order. Secrets that cannot be opened are left out.
func (v *Vault) StreamSecrets(ctx context.Context, most int, each func(key, secret string)) error {
	var rows []secret
	err := v.db.NewSelect().Model(&rows).Where("kind = ?", kindStreamKey).Limit(int64(most)).Scan(ctx)
	if err != nil {
		return fmt.Errorf("listing the secrets of stream keys: %w", err)
	}
	for _, row := range rows {
		if value, err := v.box.open(kindStreamKey+" "+row.ID, row.Value); err == nil {
			each(row.ID, string(value))
		}
	}
	return nil
}
