package main

import (
	"fmt"
	"time"

	"latchkey/internal/bench/fanout"
)

// turns are the measurements of the same kind in several turns.
type turns struct {
	cost, p50, p99 []float64 // s/Gbit; ms
	whole, lost    int       // pictures
	overflow       int       // datagrams that viewers had no room for
	viewer, all    int       // memory in KiB: for each viewer, and of the process
}

func (t *turns) add(w fanout.Window) {
	t.cost = append(t.cost, w.PerGbit())
	t.p50 = append(t.p50, ms(w.Late(0.5)))
	t.p99 = append(t.p99, ms(w.Late(0.99)))
	t.whole += w.Whole
	t.lost += w.Lost
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// compare measures 200 viewers of one camera through door and floor, in turns.
func (d *doorWorld) compare(over fanout.Transport, goal float64, p50, p99 string) error {
	if err := d.restart(); err != nil {
		return err
	}
	var door, floor turns
	var ratios []float64
	for turn := range d.turns() {
		for _, side := range []struct {
			way
			*turns
		}{{d.throughDoor(over), &door}, {d.throughFloor(over), &floor}} {
			before := fanout.ReceiveErrors()
			w, a, err := d.watched(side.way, 1, d.scaled(doorViewers), turn == 0)
			if err != nil {
				return err
			}
			side.add(w)
			side.overflow += fanout.ReceiveErrors() - before
			if turn == 0 {
				side.viewer, side.all = (a.all-a.alone)/max(1, len(a.viewers)-1), a.all
			}
		}
		ratios = append(ratios, door.cost[turn]/floor.cost[turn])
		d.say("door: %s, turn %d: %.3f CPU s/Gbit, floor %.3f", over, turn+1, door.cost[turn], floor.cost[turn])
	}
	name := fmt.Sprintf("%d viewers, %s: ", d.scaled(doorViewers), over)
	d.add(name+"CPU", fmt.Sprintf("%.3f s/Gbit", median(door.cost)), fmt.Sprintf("floor %.3f s/Gbit", median(floor.cost)), median(ratios), fmt.Sprintf("at most %.2f", goal))
	d.later(name, door, floor, p50, p99)
	d.loss(name, door, floor)
	d.add(name+"memory a viewer", fmt.Sprintf("%d KiB (%d MiB in all)", door.viewer, door.all/1024), "60 KiB", float64(door.viewer)/60, fmt.Sprintf("at most 1; floor %d KiB", floor.viewer))
	return nil
}

// turns is how often door and floor are measured.
func (b *bench) turns() int {
	if b.quick {
		return 1
	}
	return doorTurns
}

// later adds how much later pictures are than straight from the camera.
func (d *doorWorld) later(name string, door, floor turns, p50, p99 string) {
	for _, r := range []struct {
		p           string
		door, floor []float64
		goal        string
	}{{"p50", door.p50, floor.p50, p50}, {"p99", door.p99, floor.p99, p99}} {
		goal := ""
		if r.goal != "" {
			goal = "at most " + r.goal
		}
		d.add(name+"a picture is later by, "+r.p, fmt.Sprintf("%.1f ms", median(r.door)), fmt.Sprintf("floor %.1f ms", median(r.floor)), median(r.door)/median(r.floor), goal)
	}
}

func (d *doorWorld) loss(name string, door, floor turns) {
	beside := fmt.Sprintf("floor %d of %d", floor.lost, floor.lost+floor.whole)
	if n := door.overflow + floor.overflow; n > 0 {
		beside += fmt.Sprintf("; this machine's sockets had no room for %d and %d datagrams", door.overflow, floor.overflow)
	}
	d.add(name+"pictures lost", fmt.Sprintf("%d of %d", door.lost, door.lost+door.whole), beside, float64(door.lost)/float64(max(1, floor.lost)), "none")
}
