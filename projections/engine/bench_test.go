package engine_test

import (
	"database/sql"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/catalogue"
	"latchkey/domain/device"
	"latchkey/domain/event"
	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/internal/testlog"
	"latchkey/projections"
	"latchkey/projections/engine"
)

// benchLog makes n events: devices, and shares of them with four events each:
// invited, accepted, edited, and edited again or, for one in ten, removed. Those
// of 1000 shares interleave, as they do in a live log.
func benchLog(b testing.TB, n int) []eventstore.Recorded {
	out := make([]eventstore.Recorded, 0, n)
	add := func(e event.Event) {
		if len(out) == n {
			return
		}
		name, data, err := catalogue.Encode(e)
		must(b, err)
		out = append(out, eventstore.Recorded{ID: uuid.UUID{byte(len(out)), 1}, Stream: "s", Position: eventstore.Position(len(out)+1) * 64, Type: name, Data: data})
	}
	devices := max(n/20, 1)
	added := 0
	for base := 0; len(out) < n; base += 1000 {
		for k := range 4 {
			for i := base; i < base+1000; i++ {
				owner := fmt.Sprintf("0190a000-0000-7000-8000-%012x", i%devices)
				login := fmt.Sprintf("%032x", i)
				account := fmt.Sprintf("0190b000-0000-7000-8000-%012x", i)
				id, dev := owner+"."+login, fmt.Sprintf("cam-%010x", i%devices)
				gs := []share.Grant{{Channel: i%8 + 1, Privileges: privilege.Set(i+k)&privilege.All | 1}}
				at := epoch.Add(time.Duration(i) * time.Second)
				switch {
				case k == 0:
					if i == added && added < devices {
						added++
						add(device.Added{Device: dev, Serial: dev, Generation: 1, Owner: owner, Channels: []device.Channel{{Channel: i%8 + 1, Capabilities: privilege.All}}, At: at})
					}
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

// replayEvents is how many events BenchmarkReplay replays.
var replayEvents = flag.Int("replayed", 200_000, "events that BenchmarkReplay replays")

// BenchmarkReplay replays a log into each read model, from messages as the
// subscriber makes them while it catches up. On SQLite it does afterwards what
// the replay did with single prepared statements, in transactions of as many
// events, and nothing else (raw); on PostgreSQL it copies the rows that are left
// into empty tables and indexes these (copy); with the folding of the log in
// memory before that it is fold-copy.
func BenchmarkReplay(b *testing.B) {
	events := benchLog(b, *replayEvents)
	var payloads [][]byte
	for batch := range slices.Chunk(events, eventstore.MaxBatch) {
		payloads = append(payloads, eventstore.EncodeBatch(nil, eventstore.Batch{Position: batch[len(batch)-1].Position, Events: batch}))
	}
	for _, name := range projections.Names() {
		b.Run(name+"/sqlite", func(b *testing.B) {
			for range b.N {
				report(b, "", replay(b, databases[0].dsn(b), name, payloads), len(events))
				report(b, "raw-", raw(b, name, events), len(events))
			}
		})
		b.Run(name+"/postgres", func(b *testing.B) {
			for range b.N {
				dsn := databases[1].dsn(b)
				report(b, "", replay(b, dsn, name, payloads), len(events))
				s := openModels(b, dsn)
				copied, err := engine.CopyRows(b.Context(), s, dsn, name)
				must(b, err)
				report(b, "copy-", copied, len(events))
				folded, err := engine.TimeFold(s, name, events)
				must(b, err)
				must(b, s.Close())
				report(b, "fold-copy-", folded+copied, len(events))
			}
		})
	}
}

func report(b *testing.B, prefix string, took time.Duration, events int) {
	b.ReportMetric(float64(events)/took.Seconds(), prefix+"events/s")
}

func replay(b *testing.B, dsn, name string, payloads [][]byte) time.Duration {
	s := openModels(b, dsn)
	p, err := engine.NewPlayer(b.Context(), s, name)
	must(b, err)
	runtime.GC()
	began := time.Now()
	must(b, p.Replay(b.Context(), payloads))
	took := time.Since(began)
	must(b, s.Close())
	return took
}

// raw replays once to write down which rows are written, and then writes these.
func raw(b *testing.B, name string, events []eventstore.Recorded) time.Duration {
	recorded := filepath.Join(b.TempDir(), "recorded.db")
	f, err := engine.NewRecording(b.Context(), openModels(b, "sqlite:"+recorded), recorded, name)
	must(b, err)
	var transactions [][]engine.Statement
	for batch := range slices.Chunk(events, f.Backlog()) {
		must(b, f.Apply(b.Context(), batch))
		transactions = append(transactions, f.Written())
	}
	must(b, f.Close())
	path := filepath.Join(b.TempDir(), "raw.db")
	must(b, openModels(b, "sqlite:"+path).Close())
	db, err := engine.OpenSQLite(path)
	must(b, err)
	defer db.Close()
	conn, err := db.DB.Conn(b.Context())
	must(b, err)
	defer conn.Close()
	prepared := map[string]*sql.Stmt{}
	run := func(q string, args ...any) {
		if prepared[q] == nil {
			prepared[q], err = conn.PrepareContext(b.Context(), q) //nolint:sqlclosecheck // it is closed with its connection
			must(b, err)
		}
		_, err := prepared[q].Exec(args...)
		must(b, err)
	}
	runtime.GC()
	began := time.Now()
	for i, statements := range transactions {
		run("BEGIN IMMEDIATE")
		for _, s := range statements {
			run(s.Query, s.Args...)
		}
		run("UPDATE projection_checkpoints SET sum = 0, position = ? WHERE name = ?", i, name)
		run("COMMIT")
	}
	return time.Since(began)
}

// BenchmarkCatchUp replays a log from the node into every read model.
func BenchmarkCatchUp(b *testing.B) {
	const n = 100_000
	events := benchLog(b, n)
	for _, d := range databases {
		b.Run(d.name, func(b *testing.B) {
			for range b.N {
				client := testlog.New(b)
				var at eventstore.Position
				for part := range slices.Chunk(events, 1000) {
					list := make([]eventstore.Event, len(part))
					for i, e := range part {
						list[i] = eventstore.Event{ID: uuid.New(), Type: e.Type, Data: e.Data}
					}
					done, err := client.Append(b.Context(), "bench", eventstore.Any(), list...)
					must(b, err)
					at = done.Position
				}
				s, err := projections.Open(b.Context(), projections.OpenConfig{Database: d.dsn(b)})
				must(b, err)
				began := time.Now()
				r, err := projections.NewRunner(projections.RunnerConfig{Store: s, Client: client})
				must(b, err)
				stop := run(b, r)
				for _, name := range projections.Names() {
					must(b, r.WaitFor(within(b), name, at))
				}
				b.ReportMetric(n/time.Since(began).Seconds(), "events/s")
				stop()
				must(b, s.Close())
			}
		})
	}
}

func openModels(b *testing.B, dsn string) *engine.Store {
	b.Helper()
	s, err := projections.Open(b.Context(), projections.OpenConfig{Database: dsn})
	must(b, err)
	return s.Store
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
