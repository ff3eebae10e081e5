package vault

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
)

// subject holds the key of one person, wrapped. An erased person keeps the row
// with an empty key, so that the key is never made anew.
type subject struct {
	bun.BaseModel `bun:"table:vault_subjects"`

	Subject string `bun:"subject,pk"`
	Key     []byte `bun:"key,notnull"`
}

// Seal encrypts text about a person with that person's key, which it makes on
// first use. The same text of the same person gives the same sealed string.
// Empty text stays empty. ErrForgotten: the person was erased.
func (v *Vault) Seal(ctx context.Context, person, plain string) (string, error) {
	if plain == "" {
		return "", nil
	}
	if person == "" || strings.Contains(person, ":") {
		return "", fmt.Errorf("sealing text of %q: not a subject", person)
	}
	k, err := v.subjectKey(ctx, person, true)
	if err != nil {
		return "", fmt.Errorf("sealing text of %s: %w", person, err)
	}
	return person + ":" + base64.RawURLEncoding.EncodeToString(k.seal(person, plain)), nil
}

// Unseal reads what Seal made. ErrForgotten: the person was erased.
func (v *Vault) Unseal(ctx context.Context, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	person, text, ok := strings.Cut(sealed, ":")
	if !ok {
		return "", fmt.Errorf("unsealing text: %w", errSealed)
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("unsealing text of %s: %w", person, errSealed)
	}
	k, err := v.subjectKey(ctx, person, false)
	if err != nil {
		return "", fmt.Errorf("unsealing text of %s: %w", person, err)
	}
	plain, err := k.open(person, raw)
	if err != nil {
		return "", fmt.Errorf("unsealing text of %s: %w", person, err)
	}
	return plain, nil
}

// Forget destroys the key of a person. What was sealed with it can never be
// read again here, and within a minute nowhere; sealing anew is refused.
func (v *Vault) Forget(ctx context.Context, person string) error {
	row := &subject{Subject: person, Key: []byte{}}
	_, err := v.db.NewInsert().Model(row).On("CONFLICT (subject) DO UPDATE").Set("key = EXCLUDED.key").Exec(ctx)
	if err != nil {
		return fmt.Errorf("forgetting %s: %w", person, err)
	}
	v.subjects.drop(person)
	return nil
}

func (v *Vault) subjectKey(ctx context.Context, person string, create bool) (siv, error) {
	if k, ok := v.subjects.get(person); ok {
		return k, nil
	}
	row := &subject{Subject: person}
	err := v.db.NewSelect().Model(row).WherePK().Scan(ctx)
	if notFound(err) && create {
		row.Key = v.box.seal("subject "+person, randomKey())
		if _, err = v.db.NewInsert().Model(row).On("CONFLICT (subject) DO NOTHING").Exec(ctx); err == nil {
			err = v.db.NewSelect().Model(row).WherePK().Scan(ctx) // another process may have been first
		}
	}
	if notFound(err) || err == nil && len(row.Key) == 0 {
		return siv{}, ErrForgotten
	}
	if err != nil {
		return siv{}, err
	}
	key, err := v.box.open("subject "+person, row.Key)
	if err != nil {
		return siv{}, err
	}
	k := newSIV(key)
	v.subjects.put(person, k)
	return k, nil
}
