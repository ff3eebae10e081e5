package ptz

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

// speeds tell the movers apart in what the camera did.
var speeds = map[ids.Account]float64{"olga": 1, "rita": 0.25, "bob": 0.5}

// TestWhateverHappens does random things in random order, and holds that nobody moves the
// camera after the privilege was taken away, that the owner never waits, and that in the
// end the camera does not move and nothing is noted.
func TestWhateverHappens(t *testing.T) {
	const runs, steps = 300, 30
	for seed := range uint64(runs) {
		in(t, func(w *world) { whatever(w, rand.New(rand.NewPCG(seed, 1)), steps) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func whatever(w *world, r *rand.Rand, steps int) {
	var going sync.WaitGroup
	faults := []error{nil, nil, nil, ErrUnreachable, ErrNoAnswer, ErrRefused}
	people := []ids.Account{"olga", "rita", "bob"}
	ctx := context.Background()
	for range steps {
		who := people[r.IntN(len(people))]
		switch r.IntN(10) {
		case 0, 1, 2, 3:
			lasting := time.Duration(r.IntN(12)) * time.Second
			going.Go(func() {
				err := w.desk.Move(ctx, use(who), Vector{Pan: speeds[who]}, lasting)
				if who == "olga" && errors.Is(err, ErrBusy) {
					w.t.Errorf("the owner: %v", err)
				}
			})
		case 4:
			going.Go(func() { _ = w.desk.Stop(ctx, use(who)) })
		case 5:
			going.Go(func() { _ = w.desk.Goto(ctx, use(who), "1") })
		case 6:
			w.lose(who, r.IntN(2) == 0)
		case 7:
			fault, slow := faults[r.IntN(len(faults))], time.Duration(r.IntN(3000))*time.Millisecond
			w.camera.set(func(c *camera) { c.fault, c.slow = fault, slow*time.Duration(r.IntN(2)) })
		case 8:
			if r.IntN(4) == 0 {
				w.kill()
				w.start()
			} else {
				w.endSession("session of " + string(who))
				w.desk.SessionsEnded(ctx)
				w.mu.Lock()
				delete(w.ended, "session of "+string(who))
				w.mu.Unlock()
			}
		case 9:
			going.Go(func() { _, _ = w.desk.Status(ctx, use(who)) })
		}
		time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
	}
	going.Wait()
	w.camera.set(func(c *camera) { c.fault, c.slow = nil, 0 })
	time.Sleep(2 * time.Minute)
	if w.camera.moves() || w.notes.has(Channel{Device: "cam", Number: 1}) {
		w.t.Errorf("in the end it moves, or is noted: %s", w.camera.did())
	}
	w.desk.mu.Lock()
	defer w.desk.mu.Unlock()
	if len(w.desk.channels) != 0 || len(w.desk.halts) != 0 || len(w.InUse("cam")) != 0 {
		w.t.Errorf("%d channels, %d halts and %d permits are kept", len(w.desk.channels), len(w.desk.halts), len(w.InUse("cam")))
	}
}

// lose takes the privilege away for a while: no order of the account is obeyed after the
// answer.
func (w *world) lose(who ids.Account, sees bool) {
	w.rules.set(who, 0, sees)
	w.Changed(access.Change{Account: who, Device: "cam"})
	if err := w.desk.AwaitStops(context.Background()); err != nil {
		w.t.Error(err)
	}
	move := fmt.Sprintf("move %g", speeds[who])
	before := strings.Count(w.camera.did()+",", move+",")
	time.Sleep(4 * time.Second)
	if after := strings.Count(w.camera.did()+",", move+","); after != before {
		w.t.Errorf("%s moved the camera without the privilege: %s", who, w.camera.did())
	}
	w.rules.set(who, map[bool]privilege.Set{true: privilege.All, false: privilege.PTZ}[who == "olga"], true)
}
