package projections_test

import (
	"testing"

	"latchkey/projections"
)

// TestReadModelsThatCameLater: a database that has their tables in an earlier form gets
// them again, and one that has none at all gets them new.
func TestReadModelsThatCameLater(t *testing.T) {
	for name, before := range map[string][]string{
		"in an earlier form": {"ALTER TABLE recipients DROP COLUMN terms", "DELETE FROM projection_migrations WHERE name = '0014'"},
		"not there yet": {
			"DROP TABLE recipients", "DROP TABLE recipient_devices", "DROP TABLE invitations",
			"DELETE FROM projection_checkpoints WHERE name IN ('recipients', 'invitations')",
			"DELETE FROM projection_migrations WHERE name = '0014'",
		},
		"without who answered": {
			"ALTER TABLE received_share_devices RENAME COLUMN account TO another",
			"DELETE FROM projection_migrations WHERE name = '0018'",
		},
		"with proofs in the logins": {
			"DROP TABLE account_proofs", "ALTER TABLE account_logins ADD COLUMN proven BIGINT NOT NULL DEFAULT 0",
			"DELETE FROM projection_migrations WHERE name = '0016'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, h *house) {
				r, stop := h.run(h.store)
				at := h.traffic(0, 3)
				wait(t, r, at)
				want := dump(t, h.store)
				stop()
				for _, q := range before {
					_, err := h.store.DB().ExecContext(t.Context(), q)
					must(t, err)
				}
				other := h.openWith(projections.OpenConfig{Database: h.dsn})
				r, _ = h.run(other)
				wait(t, r, at)
				if got := dump(t, other); got != want {
					t.Errorf("filled again:\n%s\nbefore:\n%s", got, want)
				}
			})
		})
	}
}
