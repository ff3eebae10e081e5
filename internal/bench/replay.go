package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// benchReplay measures how fast a read model is built from the log: on SQLite compared
// with single prepared statements that write the same rows in the same transactions; on
// PostgreSQL with a COPY of the folded log into empty tables that are indexed afterwards.
// The measuring is a benchmark of package projections/engine.
func benchReplay(b *bench) error {
	n := b.scaled(1_000_000)
	out, err := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-timeout", "30m", "-benchtime", "1x",
		"-bench", "Replay/(sent_shares|received_shares|privileges)", "./projections/engine", "-replayed", strconv.Itoa(n)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the benchmarks of projections: %w: %s", err, out)
	}
	rates, err := replayRates(string(out))
	if err != nil {
		return err
	}
	for _, p := range []struct{ database, limit, says, goal string }{
		{"sqlite", "raw-", "raw prepared statements", "0.8"},
		{"postgres", "fold-copy-", "COPY of the folded log", "0.25"},
	} {
		ours, limit := 0.0, 0.0 // seconds an event, in all of them
		for _, name := range []string{"sent_shares", "received_shares", "privileges"} {
			at := name + "/" + p.database + " "
			rate, bound := rates[at], rates[at+p.limit]
			if rate == 0 || bound == 0 {
				return fmt.Errorf("no figure of %s in: %s", at, out)
			}
			ours, limit = ours+1/rate, limit+1/bound
			b.add(fmt.Sprintf("replay %d events, %s, %s", n, name, p.database), fmt.Sprintf("%.0f events/s", rate), fmt.Sprintf("%s %.0f/s", p.says, bound), rate/bound, "")
		}
		b.add(fmt.Sprintf("replay %d events, all three, %s", n, p.database), fmt.Sprintf("%.0f events/s", 1/ours), fmt.Sprintf("%s %.0f/s", p.says, 1/limit), limit/ours, p.goal)
	}
	return nil
}

var (
	benchLine   = regexp.MustCompile(`(?m)^BenchmarkReplay/(\S+?)(?:-\d+)?\s+1\s(.*)$`)
	benchMetric = regexp.MustCompile(`([\d.e+]+) (\S*)events/s`)
)

// replayRates is events/s by the name of the benchmark, a blank, and what came
// before "events/s".
func replayRates(out string) (map[string]float64, error) {
	rates := map[string]float64{}
	for _, line := range benchLine.FindAllStringSubmatch(out, -1) {
		for _, m := range benchMetric.FindAllStringSubmatch(line[2], -1) {
			rate, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				return nil, fmt.Errorf("reading %q: %w", line[0], err)
			}
			rates[line[1]+" "+m[2]] = rate
		}
	}
	return rates, nil
}
