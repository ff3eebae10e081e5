package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// benchReplay measures how fast a read model is made from the log, beside raw
// prepared upserts of the same rows (SQLite) and a COPY of the folded log into
// an empty table whose indexes are made afterwards (PostgreSQL). The replays
// are the benchmarks of package projections.
func benchReplay(b *bench) error {
	out, err := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-benchtime", "1x", "-bench", "Replay/(sent_shares|privileges|raw)", "./projections").CombinedOutput()
	if err != nil {
		return fmt.Errorf("the benchmarks of projections: %w: %s", err, out)
	}
	rates := map[string]float64{}
	for _, m := range regexp.MustCompile(`BenchmarkReplay/(\S+?)(?:-\d+)?\s.*?([\d.]+) events/s`).FindAllStringSubmatch(string(out), -1) {
		if rates[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
			return err
		}
	}
	raw := rates["raw/sqlite"]
	if raw == 0 {
		return fmt.Errorf("no figure of the raw upserts in: %s", out)
	}
	for _, name := range []string{"sent_shares/sqlite/1000", "sent_shares/sqlite/8000", "privileges/sqlite/1000", "privileges/sqlite/8000"} {
		b.add("replay, "+name, fmt.Sprintf("%.0f events/s", rates[name]), fmt.Sprintf("raw prepared upserts %.0f/s", raw), rates[name]/raw, "0.8")
	}
	copied, err := b.copyFolded(200_000)
	if err != nil {
		return fmt.Errorf("COPY: %w", err)
	}
	for _, name := range []string{"sent_shares/postgres/1000", "sent_shares/postgres/8000", "privileges/postgres/1000", "privileges/postgres/8000"} {
		b.add("replay, "+name, fmt.Sprintf("%.0f events/s", rates[name]), fmt.Sprintf("COPY of the folded log %.0f/s", copied), rates[name]/copied, "0.25")
	}
	return nil
}

// copyFolded copies the rows that n events leave, a row for four events.
func (b *bench) copyFolded(n int) (float64, error) {
	pg, err := startPostgres(b)
	if err != nil {
		return 0, err
	}
	defer pg.stop()
	c, err := pgx.Connect(b.ctx, pg.dsn)
	if err != nil {
		return 0, err
	}
	defer c.Close(b.ctx)
	if _, err := c.Exec(b.ctx, "CREATE TABLE d (share text, device text, status text, grants text, invited bigint, answered bigint, added bigint, revision bigint)"); err != nil {
		return 0, err
	}
	began := time.Now()
	tx, err := c.Begin(b.ctx)
	if err != nil {
		return 0, err
	}
	_, err = tx.CopyFrom(b.ctx, pgx.Identifier{"d"}, []string{"share", "device", "status", "grants", "invited", "answered", "added", "revision"},
		pgx.CopyFromSlice(n/4, func(i int) ([]any, error) {
			return []any{accountID(uint32(i%50_000)) + fmt.Sprintf(".%032x", i), fmt.Sprintf("cam-%010x", i), "accepted", "0001ff", int64(1), int64(1), int64(i), int64(i)}, nil
		}))
	if err != nil {
		return 0, err
	}
	if _, err := tx.Exec(b.ctx, "ALTER TABLE d ADD PRIMARY KEY (share, device); CREATE INDEX ON d (device)"); err != nil {
		return 0, err
	}
	if err := tx.Commit(b.ctx); err != nil {
		return 0, err
	}
	return perSecond(n, time.Since(began)), nil
}
