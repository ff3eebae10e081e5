package projections_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections"
)

// benchLog makes n events of shares, four to a device in a share: invited,
// accepted, edited, and edited again or, for one in ten, removed. Those of 1000
// shares interleave, as they do in a live log.
func benchLog(b testing.TB, n int) []eventstore.Recorded {
	out := make([]eventstore.Recorded, 0, n)
	add := func(e any) {
		name, data, err := domain.EncodeEvent(e)
		must(b, err)
		out = append(out, eventstore.Recorded{ID: uuid.UUID{byte(len(out)), 1}, Stream: "s", Position: eventstore.Position(len(out)+1) * 64, Type: name, Data: data})
	}
	for base := 0; len(out) < n; base += 1000 {
		for k := range 4 {
			for i := base; i < base+1000 && len(out) < n; i++ {
				owner := fmt.Sprintf("0190a000-0000-7000-8000-%012x", i%50_000)
				login := fmt.Sprintf("%032x", i)
				account := fmt.Sprintf("0190b000-0000-7000-8000-%012x", i)
				id, dev := owner+"."+login, fmt.Sprintf("cam-%010x", i)
				gs := []share.Grant{{Channel: i%8 + 1, Privileges: privilege.Set(i+k)&privilege.All | 1}}
				at := epoch.Add(time.Duration(i) * time.Second)
				switch {
				case k == 0:
					add(share.Invited{Share: id, Owner: owner, Login: login, Device: dev, Grants: gs, At: at})
				case k == 1:
					add(share.Accepted{Share: id, Owner: owner, Login: login, Account: account, Device: dev, Grants: gs, At: at})
				case k == 3 && i%10 == 0:
					add(share.DeviceRemoved{Share: id, Owner: owner, Login: login, Account: account, Device: dev, Reason: share.ByOwner, At: at})
				default:
					add(share.PrivilegesEdited{Share: id, Owner: owner, Login: login, Account: account, Device: dev, Grants: gs, At: at})
				}
			}
		}
	}
	return out
}

func BenchmarkReplay(b *testing.B) {
	const n = 200_000
	events := benchLog(b, n)
	for _, name := range []string{projections.SentShares, projections.ReceivedShares, projections.Privileges} {
		for _, d := range databases {
			for _, size := range []int{1000, 8000} {
				b.Run(fmt.Sprintf("%s/%s/%d", name, d.name, size), func(b *testing.B) {
					for range b.N {
						replay(b, d.dsn(b), name, events, size)
					}
				})
			}
		}
	}
	b.Run("raw/sqlite", func(b *testing.B) {
		for range b.N {
			raw(b, events)
		}
	})
}

func replay(b *testing.B, dsn, name string, events []eventstore.Recorded, size int) {
	s, err := projections.Open(b.Context(), projections.OpenConfig{Database: dsn})
	must(b, err)
	f, err := projections.NewFeed(b.Context(), s, name)
	must(b, err)
	began := time.Now()
	for batch := range slices.Chunk(events, size) {
		must(b, f.Apply(b.Context(), batch))
	}
	b.ReportMetric(float64(len(events))/time.Since(began).Seconds(), "events/s")
	must(b, s.Close())
}

// raw is the limit: prepared upserts of the same rows in the same transactions.
func raw(b *testing.B, events []eventstore.Recorded) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "r.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=cache_size(-16384)")
	must(b, err)
	defer db.Close()
	conn, err := db.Conn(b.Context())
	must(b, err)
	defer conn.Close()
	exec := func(q string) {
		_, err := conn.ExecContext(b.Context(), q)
		must(b, err)
	}
	exec("CREATE TABLE d (share TEXT NOT NULL, device TEXT NOT NULL, status TEXT NOT NULL, grants TEXT NOT NULL, invited INTEGER NOT NULL, answered INTEGER NOT NULL, added INTEGER NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (share, device)) WITHOUT ROWID")
	exec("CREATE INDEX di ON d (device)")
	exec("CREATE TABLE c (name TEXT PRIMARY KEY, pos INTEGER)")
	exec("INSERT INTO c VALUES ('s', 0)")
	prep := func(q string) *sql.Stmt { s, err := conn.PrepareContext(b.Context(), q); must(b, err); return s }
	up := prep("INSERT INTO d VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (share, device) DO UPDATE SET status=excluded.status, grants=excluded.grants, invited=excluded.invited, answered=excluded.answered, revision=excluded.revision")
	cp, begin, commit := prep("UPDATE c SET pos=? WHERE name='s'"), prep("BEGIN"), prep("COMMIT")
	run := func(s *sql.Stmt, args ...any) { _, err := s.Exec(args...); must(b, err) }
	type k struct{ share, device string }
	began := time.Now()
	for i := 0; i < len(events); i += 1000 {
		last := map[k]int{}
		rows := make([][]any, 1000)
		for j, e := range events[i : i+1000] {
			n := i/4000*1000 + (i+j)%1000
			owner := fmt.Sprintf("0190a000-0000-7000-8000-%012x", n%50_000)
			id, dev := owner+fmt.Sprintf(".%032x", n), fmt.Sprintf("cam-%010x", n)
			rows[j] = []any{id, dev, "accepted", "0001ff", int64(1), int64(1), int64(e.Position), int64(e.Revision)}
			last[k{id, dev}] = j
		}
		run(begin)
		for j, r := range rows {
			if last[k{r[0].(string), r[1].(string)}] == j {
				run(up, r...)
			}
		}
		run(cp, i)
		run(commit)
	}
	b.ReportMetric(float64(len(events))/time.Since(began).Seconds(), "events/s")
}

// BenchmarkCatchUp replays a log from the node into every read model.
func BenchmarkCatchUp(b *testing.B) {
	const n = 100_000
	events := benchLog(b, n)
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			for range b.N {
				h := &house{t: b, dsn: d.dsn(b), client: newLog(b)}
				var at uint64
				for part := range slices.Chunk(events, 1000) {
					list := make([]eventstore.Event, len(part))
					for i, e := range part {
						list[i] = eventstore.Event{ID: uuid.New(), Type: e.Type, Data: e.Data}
					}
					at = h.raw("bench", list...)
				}
				h.store = h.open()
				began := time.Now()
				r, stop := h.run(h.store, nil)
				for _, name := range projections.Names() {
					must(b, r.WaitFor(within(b), name, at))
				}
				b.ReportMetric(n/time.Since(began).Seconds(), "events/s")
				stop()
			}
		})
	}
}
