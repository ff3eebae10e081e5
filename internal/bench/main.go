// Command bench measures Latchkey against lower bounds and peers, all in one run on one
// machine, and prints each figure as a ratio to one of them. Absolute figures drift with
// the machine; ratios travel.
//
//	go run ./internal/bench [-only GROUP] [-quick] [-dir FOLDER]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"latchkey/internal/bench/fanout"
)

// bench is what a group of measurements gets.
type bench struct {
	ctx   context.Context
	dir   string // scratch folder on the disk under test
	quick bool   // a tenth of the work
	rows  []row
}

// row is one figure with its bound.
type row struct {
	name   string
	figure string // with its unit
	beside string // what it is compared with, and that figure
	ratio  float64
	goal   string // "" if there is none
}

// groups are measured in this order.
var groups = []struct {
	name string
	run  func(*bench) error
}{
	{"log", benchLog},
	{"replay", benchReplay},
	{"load", benchLoad},
	{"check", benchCheck},
	{"revoke", benchRevoke},
	{"command", benchCommand},
	{"rest", benchREST},
	{"names", benchNames},
	{"door", benchDoor},
	{"portal", benchPortal},
	{"browser", benchBrowser},
}

func main() {
	fanout.Run()
	debug.SetGCPercent(400) // as the service does
	only := flag.String("only", "", "comma-separated groups: log, replay, load, check, revoke, command, rest, names, door, portal, browser")
	quick := flag.Bool("quick", false, "a tenth of the work, to see that it runs")
	dir := flag.String("dir", "", "scratch folder on the disk under test (a temporary one)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *dir, *quick); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, dir string, quick bool) error {
	tmp, err := os.MkdirTemp(dir, "latchkey-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	chosen := strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	for _, g := range groups {
		if len(chosen) > 0 && !slices.Contains(chosen, g.name) {
			continue
		}
		b := &bench{ctx: ctx, dir: tmp, quick: quick}
		began := time.Now()
		if err := g.run(b); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		b.print(g.name, time.Since(began))
	}
	return nil
}

// scaled is n, or a tenth of it for a quick look.
func (b *bench) scaled(n int) int {
	if b.quick {
		return max(1, n/10)
	}
	return n
}

func (b *bench) add(name, figure, beside string, ratio float64, goal string) {
	b.rows = append(b.rows, row{name, figure, beside, ratio, goal})
	fmt.Fprintf(os.Stderr, "%-46s %18s  %5.2f of %s  (%s)\n", name, figure, ratio, beside, goal)
}

func (b *bench) print(group string, took time.Duration) {
	fmt.Printf("\n### %s (%v)\n\n| what | measured | beside | ratio | goal |\n|---|---|---|---|---|\n", group, took.Round(time.Second))
	for _, r := range b.rows {
		fmt.Printf("| %s | %s | %s | %.2f | %s |\n", r.name, r.figure, r.beside, r.ratio, r.goal)
	}
}

// percentile sorts ds and returns the p-th, 0 < p <= 1.
func percentile(ds []time.Duration, p float64) time.Duration {
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(float64(len(ds))*p))]
}

func perSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
