package vault

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
)

// statements are those of every request, kept prepared: SQLite's parser takes longer than
// their execution.
type statements struct {
	readSession, readSubject, readSecret, writeSecret, deleteSecret *sql.Stmt
}

func prepareStatements(ctx context.Context, db *bun.DB) (s statements, err error) {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.readSession, "SELECT account, expires, mac, created, network FROM vault_sessions WHERE token = $1"},
		{&s.readSubject, "SELECT subject, tag, \"key\" FROM vault_subjects WHERE subject = $1 ORDER BY tag"},
		{&s.readSecret, "SELECT value FROM vault_secrets WHERE kind = $1 AND id = $2"},
		{&s.writeSecret, "INSERT INTO vault_secrets (kind, id, value) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value"},
		{&s.deleteSecret, "DELETE FROM vault_secrets WHERE kind = $1 AND id = $2"},
	} {
		if isSQLite(db) {
			p.text = strings.ReplaceAll(p.text, "$", "?")
		}
		if *p.stmt, err = db.DB.PrepareContext(ctx, p.text); err != nil { //nolint:sqlclosecheck // they last as long as the database is open
			return statements{}, fmt.Errorf("preparing %.60q: %w", p.text, err)
		}
	}
	return s, nil
}
