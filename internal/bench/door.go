package main

import (
	"fmt"
	"os"
	"time"

	"latchkey/internal/bench/fanout"
)

const (
	doorViewers     = 200
	doorManyViewers = 500
	doorWindow      = 10 * time.Second // of each measurement
	doorTurns       = 3                // of door and floor; figures and ratios are medians
	doorSettle      = 3 * time.Second  // more than a GOP: new viewers have caught up
	doorCameras     = 200              // devices, each a camera of its own
)

// benchDoor measures what the door costs, and how late it makes pictures, beside floors
// of the same run. Camera, floor and door are processes of their own, and the viewers are
// in this one.
func benchDoor(b *bench) error {
	d, err := openDoor(b)
	if err != nil {
		return err
	}
	defer d.close()
	for _, step := range []struct {
		what string
		run  func() error
	}{
		{"TCP", func() error { return d.compare(fanout.TCP, 1.25, "1.5 ms", "4 ms") }},
		{"UDP", func() error { return d.compare(fanout.UDP, 1.25, "3 ms", "9 ms") }},
		{"RTSPS", func() error { return d.compare(fanout.RTSPS, 1.5, "", "") }},
		{"first pictures", d.firstPictures},
		{"stalled viewers", d.stalled},
		{"500 viewers and 100 cameras", d.many},
		{"revocations", d.revocations},
	} {
		b.say("door: %s", step.what)
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// say tells how far a group is.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// window is how long each measurement of the door takes.
func (b *bench) window() time.Duration {
	if b.quick {
		return time.Second
	}
	return doorWindow
}
