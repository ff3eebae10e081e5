package main

import (
	"context"
	"time"

	"latchkey/internal/bench/fanout"
)

// way is how a camera is watched: through the door or the floor, or straight.
type way struct {
	pid    int
	target func(camera int) fanout.Target
}

func (d *doorWorld) throughDoor(over fanout.Transport) way {
	return way{d.door.cmd.Process.Pid, func(i int) fanout.Target {
		t := fanout.Target{Address: d.door.rtsp, Path: "/" + d.devices[i] + "/1", Auth: d.auth, Over: over}
		if over == fanout.RTSPS {
			t.Address = d.secure
		}
		return t
	}}
}

func (d *doorWorld) throughFloor(over fanout.Transport) way {
	return way{d.floor.PID, func(i int) fanout.Target {
		t := fanout.Target{Address: d.floor.Address, Path: cameraPath(i), Over: over}
		if over == fanout.RTSPS {
			t.Address = d.floor.Secure
		}
		return t
	}}
}

func (d *doorWorld) straight(i int) fanout.Target {
	return fanout.Target{Address: d.camera.Address, Path: cameraPath(i), Over: fanout.TCP}
}

// audience are viewers that have caught up, and one straight at the camera.
type audience struct {
	*fanout.Crowd
	straight *fanout.Viewer
	viewers  []*fanout.Viewer
	alone    int // KiB of the serving process with one viewer, if it was weighed
	all      int // KiB with all of them
}

// gather lets viewers watch: as many of each camera from the first on. To weigh the
// process that serves them, the first one is alone for a while.
func (d *doorWorld) gather(w way, cameras, each int, weigh bool) (*audience, error) {
	crowd, err := fanout.NewCrowd()
	if err != nil {
		return nil, err
	}
	a := &audience{Crowd: crowd}
	if err := a.seat(d.ctx, d.straight(0), w, cameras, each, weigh); err != nil {
		crowd.Close()
		return nil, err
	}
	return a, nil
}

func (a *audience) seat(ctx context.Context, straight fanout.Target, w way, cameras, each int, weigh bool) (err error) {
	if a.straight, err = a.Join(ctx, straight); err != nil {
		return err
	}
	var targets []fanout.Target
	for i := range cameras * each {
		targets = append(targets, w.target(i%cameras))
	}
	if weigh {
		if a.viewers, err = a.JoinAll(ctx, targets[:1]); err != nil {
			return err
		}
		if a.alone, err = calmMemory(ctx, w.pid); err != nil {
			return err
		}
		targets = targets[1:]
	}
	others, err := a.JoinAll(ctx, targets)
	if err != nil {
		return err
	}
	a.viewers = append(a.viewers, others...)
	return pause(ctx, doorSettle)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// watched measures an audience that comes and goes.
func (d *doorWorld) watched(w way, cameras, each int, weigh bool) (fanout.Window, *audience, error) {
	a, err := d.gather(w, cameras, each, weigh)
	if err != nil {
		return fanout.Window{}, nil, err
	}
	defer a.Close()
	window, err := a.Measure(d.ctx, w.pid, a.viewers, a.straight, d.window())
	a.all = fanout.Memory(w.pid)
	return window, a, err
}

// calmMemory returns the memory of a process in KiB once it has not fallen for a while:
// one that was just started gives back what its start took.
func calmMemory(ctx context.Context, pid int) (least int, err error) {
	const most = 20 * time.Second
	least = fanout.Memory(pid)
	began := time.Now()
	for fell := began; time.Since(fell) < doorSettle && time.Since(began) < most; {
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
		now := fanout.Memory(pid)
		if now < least-least/100 {
			fell = time.Now()
		}
		least = min(least, now)
	}
	return fanout.Memory(pid), nil
}
