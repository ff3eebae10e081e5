package main

import (
	"fmt"
	"time"

	"latchkey/internal/bench/fanout"
)

// stalled measures what viewers who stop reading do to the others, and when the door has
// ended them.
func (d *doorWorld) stalled() error {
	n := d.scaled(doorViewers)
	w := d.throughDoor(fanout.TCP)
	a, err := d.gather(w, 1, n, false)
	if err != nil {
		return err
	}
	defer a.Close()
	stalling, others := a.viewers[:n/4], a.viewers[n/4:]
	before, err := a.Measure(d.ctx, w.pid, others, a.straight, d.window())
	if err != nil {
		return err
	}
	memory := fanout.Memory(w.pid)
	if err := a.Stall(stalling); err != nil {
		return err
	}
	gone := make(chan time.Duration, 1)
	go func() { gone <- d.until(time.Now(), len(others)) }()
	with, err := a.Measure(d.ctx, w.pid, others, a.straight, 5*time.Second) // they are there for most of it
	if err != nil {
		return err
	}
	grown := fanout.Memory(w.pid) - memory
	after := <-gone
	name := fmt.Sprintf("%d of %d viewers stall, TCP: ", len(stalling), n)
	d.add(name+"the others' pictures are later by, p99", fmt.Sprintf("%.1f ms", ms(with.Late(0.99))), fmt.Sprintf("before %.1f ms", ms(before.Late(0.99))), ms(with.Late(0.99))/ms(before.Late(0.99)), "at most 2")
	d.add(name+"the others' pictures lost", fmt.Sprintf("%d of %d", with.Lost, with.Lost+with.Whole), fmt.Sprintf("before %d of %d", before.Lost, before.Lost+before.Whole), float64(with.Lost), "none")
	d.add(name+"they are gone after", fmt.Sprintf("%.1f s", after.Seconds()), "5 s", after.Seconds()/5, fmt.Sprintf("at most 1; memory grew by %d KiB", grown))
	return nil
}

// until returns how long it took until the door had no more than so many connections, at
// most half a minute.
func (d *doorWorld) until(began time.Time, connections int) time.Duration {
	for time.Since(began) < 30*time.Second && d.ctx.Err() == nil && fanout.Connections(d.door.rtsp) > connections {
		_ = pause(d.ctx, 50*time.Millisecond)
	}
	return time.Since(began)
}
