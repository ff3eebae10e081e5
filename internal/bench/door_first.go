package main

import (
	"context"
	"fmt"
	"time"

	"latchkey/internal/bench/fanout"
)

// firstPictures measures how long a new viewer waits for its first whole picture: of a
// camera that others watch, and of one that nobody does.
func (d *doorWorld) firstPictures() error {
	a, err := d.gather(d.throughDoor(fanout.TCP), 1, 1, false)
	if err != nil {
		return err
	}
	defer a.Close()
	for _, over := range []fanout.Transport{fanout.TCP, fanout.UDP, fanout.RTSPS} {
		var took []time.Duration
		for n := range d.scaled(20) {
			if err := pause(d.ctx, time.Duration(n%10)*30*time.Millisecond); err != nil { // anywhere in a GOP
				return err
			}
			t, err := a.first(d.ctx, d.throughDoor(over).target(0))
			if err != nil {
				return err
			}
			took = append(took, t)
		}
		p50, most := percentile(took, 0.5), percentile(took, 1)
		d.add(fmt.Sprintf("first picture, warm, %s", over), fmt.Sprintf("p50 %.1f ms, at most %.1f ms", ms(p50), ms(most)), "50 ms", p50.Seconds()/0.05, "at most 1")
	}
	return d.cold(a)
}

// cold alternates between the door and the camera itself, each time with a camera that
// nobody watches.
func (d *doorWorld) cold(a *audience) error {
	var camera, more []time.Duration
	for n := range d.scaled(20) {
		through, err := a.first(d.ctx, d.throughDoor(fanout.TCP).target(doorCameras-1-n))
		if err != nil {
			return err
		}
		straight, err := a.first(d.ctx, d.straight(doorCameras-50-n))
		if err != nil {
			return err
		}
		camera, more = append(camera, straight), append(more, through-straight)
	}
	p50, most := percentile(more, 0.5), percentile(more, 1)
	d.add("first picture, cold, TCP: more than the camera", fmt.Sprintf("p50 %.1f ms, at most %.1f ms", ms(p50), ms(most)),
		fmt.Sprintf("50 ms; the camera alone %.1f ms", ms(percentile(camera, 0.5))), p50.Seconds()/0.05, "at most 1")
	return nil
}

// first returns how long it takes from dialling to the first whole picture.
func (a *audience) first(ctx context.Context, t fanout.Target) (time.Duration, error) {
	began := time.Now()
	v, err := a.Join(ctx, t)
	if err != nil {
		return 0, err
	}
	alone := []*fanout.Viewer{v}
	defer a.Leave(alone)
	for until := began.Add(20 * time.Second); time.Now().Before(until); {
		if at := a.See(alone)[0].First; !at.IsZero() {
			return at.Sub(began), nil
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("no picture from %s within 20 s", t.Path)
}
