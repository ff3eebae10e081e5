package outbox

import (
	"context"
	"time"

	"latchkey/internal/vault"
)

// InVault is a Store in the vault.
type InVault struct{ Vault *vault.Vault }

// Enqueue keeps a message until it was sent.
func (s InVault) Enqueue(ctx context.Context, m Message) error {
	return s.Vault.Enqueue(ctx, vault.Outgoing{
		ID: m.ID, Account: m.Account, Until: m.Until, Tries: m.Tries, Kind: m.Kind, To: m.To, Subject: m.Subject, Text: m.Text,
	})
}

// Claim implements Store.
func (s InVault) Claim(ctx context.Context, holder string, lasts time.Duration) (Message, bool, error) {
	m, ok, err := s.Vault.ClaimOutgoing(ctx, holder, lasts)
	return Message{
		ID: m.ID, Account: m.Account, Until: m.Until, Tries: m.Tries, Kind: m.Kind, To: m.To, Subject: m.Subject, Text: m.Text,
	}, ok, err
}

// HandOver implements Store.
func (s InVault) HandOver(ctx context.Context, id, holder string) error {
	return s.Vault.HandOver(ctx, id, holder)
}

// Finish implements Store.
func (s InVault) Finish(ctx context.Context, id, holder string) error {
	return s.Vault.FinishOutgoing(ctx, id, holder)
}

// Retry implements Store.
func (s InVault) Retry(ctx context.Context, id, holder string, at time.Time) error {
	return s.Vault.RetryOutgoing(ctx, id, holder, at)
}
