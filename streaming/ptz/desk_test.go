package ptz

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
)

func deniedBy(err error) access.Verdict {
	if d, ok := errors.AsType[*Denied](err); ok {
		return d.Verdict
	}
	return access.Allowed
}

// TestOrders: each arrives; those that end by themselves are not stopped.
func TestOrders(t *testing.T) {
	in(t, func(w *world) {
		ctx := context.Background()
		for _, err := range []error{
			w.desk.Relative(ctx, use("rita"), Vector{Pan: 1}), w.desk.Absolute(ctx, use("rita"), Place{}),
			w.desk.Goto(ctx, use("rita"), "7"), w.desk.Release(ctx, use("rita")),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Hour)
		w.want("relative, absolute, goto 7")
		w.moveWell("rita", time.Second)
		if !w.camera.moves() || !w.notes.has(Channel{Device: "cam", Number: 1}) {
			t.Error("it does not move, or that is not noted")
		}
		if err := w.desk.Relative(ctx, use("rita"), Vector{Pan: 1}); err != nil {
			t.Error(err)
		}
		w.want("relative, absolute, goto 7, move 0.5, stop, relative")
		if w.notes.has(Channel{Device: "cam", Number: 1}) {
			t.Error("it is still noted")
		}
		if held := w.InUse("cam"); len(held) != 1 || held[0].Transport != Transport || held[0].Account != "rita" || held[0].Privilege != privilege.PTZ {
			t.Errorf("in use: %+v", held)
		}
		time.Sleep(idleAfter + time.Second)
		if held := w.InUse("cam"); len(held) != 0 {
			t.Errorf("still in use: %+v", held)
		}
		if w.used != 5 {
			t.Errorf("%d uses were recorded", w.used)
		}
	})
}

// TestOutOfRange: what is no speed or place reaches no camera.
func TestOutOfRange(t *testing.T) {
	in(t, func(w *world) {
		ctx := context.Background()
		for _, bad := range []float64{1.01, -1.01, math.NaN(), math.Inf(1), math.Inf(-1)} {
			for _, v := range []Vector{{Pan: bad}, {Tilt: bad}, {Zoom: bad}} {
				for _, err := range []error{
					w.desk.Move(ctx, use("olga"), v, time.Second), w.desk.Relative(ctx, use("olga"), v), w.desk.Absolute(ctx, use("olga"), Place(v)),
				} {
					if !errors.Is(err, ErrOutOfRange) {
						t.Errorf("%v: %v", v, err)
					}
				}
			}
		}
		if err := w.desk.Absolute(ctx, use("olga"), Place{Zoom: -0.1}); !errors.Is(err, ErrOutOfRange) {
			t.Error(err)
		}
		w.want("")
	})
}

// TestNobodyMovesWhoMayNot: the verdict is the index's, also while somebody moves it.
func TestNobodyMovesWhoMayNot(t *testing.T) {
	in(t, func(w *world) {
		check := func() {
			t.Helper()
			ctx := context.Background()
			for who, want := range map[ids.Account]access.Verdict{"vic": access.Forbidden, "mallory": access.NotFound} {
				_, err := w.desk.Presets(ctx, use(who))
				_, err2 := w.desk.Status(ctx, use(who))
				for _, err := range []error{
					w.move(who, time.Second), w.desk.Stop(ctx, use(who)), w.desk.Goto(ctx, use(who), "1"), w.desk.Absolute(ctx, use(who), Place{}),
					w.desk.Relative(ctx, use(who), Vector{}), w.desk.Release(ctx, use(who)), err, err2,
				} {
					if deniedBy(err) != want {
						t.Errorf("%s: %v", who, err)
					}
				}
			}
		}
		check()
		w.moveWell("rita", time.Second)
		check()
		w.want("move 0.5")
	})
}

// TestTheTimeOfAMovement: it is stopped unless it is renewed.
func TestTheTimeOfAMovement(t *testing.T) {
	in(t, func(w *world) {
		for range 5 {
			w.moveWell("rita", 2*time.Second)
			time.Sleep(1500 * time.Millisecond)
		}
		w.want("move 0.5, move 0.5, move 0.5, move 0.5, move 0.5")
		time.Sleep(time.Second)
		w.want("move 0.5, move 0.5, move 0.5, move 0.5, move 0.5, stop")
		w.moveWell("rita", time.Hour)
		time.Sleep(MaxLasting + time.Second)
		if w.camera.moves() {
			t.Error("it moves for an hour")
		}
	})
}

// TestWhoGoesStops: each way to leave stops what moves, once.
func TestWhoGoesStops(t *testing.T) {
	for name, leave := range map[string]func(w *world){
		"a stop":      func(w *world) { _ = w.desk.Stop(context.Background(), use("rita")) },
		"no movement": func(w *world) { _ = w.desk.Move(context.Background(), use("rita"), Vector{}, time.Second) },
		"a release":   func(w *world) { _ = w.desk.Release(context.Background(), use("rita")) },
		"idleness":    func(*world) { time.Sleep(MaxLasting + time.Second) },
		"revocation":  func(w *world) { w.revoke("rita") },
		"the session": func(w *world) {
			w.endSession("session of rita")
			w.desk.SessionsEnded(context.Background())
		},
		"the session, unnoticed": func(w *world) {
			w.endSession("session of rita")
			time.Sleep(sessionsEvery + time.Second)
		},
		"the end of the process": func(w *world) { w.stop(); w.start() },
		"a kill":                 func(w *world) { w.kill(); w.start() },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				w.moveWell("rita", MaxLasting)
				leave(w)
				synctest.Wait()
				w.want("move 0.5, stop")
				if w.notes.has(Channel{Device: "cam", Number: 1}) {
					t.Error("it is still noted")
				}
				time.Sleep(time.Minute)
				w.want("move 0.5, stop")
			})
		})
	}
}

// TestAnOrderOfAnEndedSession: one that ended while the order was on its way moves nothing,
// and neither does one that ended while another of the account had the lease.
func TestAnOrderOfAnEndedSession(t *testing.T) {
	in(t, func(w *world) {
		w.endSession("session of rita")
		w.desk.SessionsEnded(context.Background())
		if err := w.move("rita", MaxLasting); deniedBy(err) != access.NotFound {
			t.Error(err)
		}
		w.want("")
		first, other := use("bob"), use("bob")
		other.Session = "another"
		for _, u := range []Use{first, other} {
			if err := w.desk.Move(context.Background(), u, Vector{Pan: 0.5}, MaxLasting); err != nil {
				t.Error(err)
			}
		}
		w.endSession(first.Session)
		w.desk.SessionsEnded(context.Background())
		w.want("move 0.5, move 0.5")
		if err := w.move("bob", MaxLasting); deniedBy(err) != access.NotFound {
			t.Error(err)
		}
		synctest.Wait()
		w.want("move 0.5, move 0.5, stop")
	})
}

// TestTheOwnerFirst: a recipient waits for others, the owner does not; and nobody is told
// who it is.
func TestTheOwnerFirst(t *testing.T) {
	in(t, func(w *world) {
		ctx := context.Background()
		w.moveWell("rita", MaxLasting)
		if err := w.move("bob", time.Second); !errors.Is(err, ErrBusy) {
			t.Errorf("another recipient: %v", err)
		}
		if s, err := w.desk.Status(ctx, use("bob")); err != nil || s.Holder != Others || !s.Moving {
			t.Errorf("%+v, %v", s, err)
		}
		w.moveWell("olga", MaxLasting)
		w.want("move 0.5, place, stop, move 0.5")
		if err := w.move("rita", time.Second); !errors.Is(err, ErrBusy) {
			t.Errorf("whoever the owner took it from: %v", err)
		}
		if err := w.desk.Release(ctx, use("rita")); err != nil || !w.camera.moves() {
			t.Errorf("a release of nothing: %v", err)
		}
		synctest.Wait()
		if held := w.InUse("cam"); len(held) != 1 || held[0].Account != "olga" {
			t.Errorf("in use: %+v", held)
		}
		if err := w.desk.Release(ctx, use("olga")); err != nil {
			t.Fatal(err)
		}
		w.moveWell("bob", time.Second)
		if s, err := w.desk.Status(ctx, use("bob")); err != nil || s.Holder != Yours || s.At == nil || s.At.Pan != 0.5 {
			t.Errorf("%+v, %v", s, err)
		}
		time.Sleep(MaxLasting + time.Second)
		if s, err := w.desk.Status(ctx, use("rita")); err != nil || s.Holder != Free || s.Moving {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestAReleaseWaitsForItsOwnCamera, and not for others that hang.
func TestAReleaseWaitsForItsOwnCamera(t *testing.T) {
	in(t, func(w *world) {
		ctx := context.Background()
		w.moveWell("rita", MaxLasting)
		other := use("bob")
		other.Channel = 2
		if err := w.desk.Goto(ctx, other, "7"); err != nil {
			t.Fatal(err)
		}
		w.camera.set(func(c *camera) { c.slow = time.Hour })
		go func() { _ = w.desk.Release(ctx, use("rita")) }()
		synctest.Wait()
		began := time.Now()
		if err := w.desk.Release(ctx, other); err != nil || time.Since(began) > 0 {
			t.Errorf("it took %v: %v", time.Since(began), err)
		}
		w.camera.set(func(c *camera) { c.slow = 0 })
		time.Sleep(time.Minute)
	})
}

// TestNothingAfterTheAnswer: an order that is being given when the privilege goes is
// followed by the stop, before whoever took it away has the answer; one that hangs is cut.
func TestNothingAfterTheAnswer(t *testing.T) {
	for _, slow := range []time.Duration{10 * time.Millisecond, 800 * time.Millisecond, 1500 * time.Millisecond, time.Hour} {
		in(t, func(w *world) {
			w.camera.set(func(c *camera) { c.slow = slow })
			done := make(chan error, 1)
			go func() { done <- w.move("rita", MaxLasting) }()
			synctest.Wait()
			began := time.Now()
			w.revoke("rita")
			if took := time.Since(began); took > awaitAtMost {
				t.Errorf("slow by %v: the answer took %v", slow, took)
			}
			after := w.camera.did()
			<-done
			if slow < grace {
				w.want("move 0.5, stop")
			}
			w.camera.set(func(c *camera) { c.slow = 0 })
			time.Sleep(time.Minute)
			if got := w.camera.did(); after != got && got != "stop" {
				t.Errorf("slow by %v: %q, then %q", slow, after, got)
			}
			if w.camera.moves() || w.notes.has(Channel{Device: "cam", Number: 1}) {
				t.Error("it moves, or is noted")
			}
		})
	}
}

// TestACameraThatIsAway: it is told to stop until it does, or for a long time.
func TestACameraThatIsAway(t *testing.T) {
	for _, fault := range []error{ErrUnreachable, ErrNoAnswer, ErrRefused} {
		in(t, func(w *world) {
			w.moveWell("rita", time.Second)
			w.camera.set(func(c *camera) { c.fault = fault })
			w.revoke("rita") // does not hang
			time.Sleep(5 * time.Minute)
			if !w.notes.has(Channel{Device: "cam", Number: 1}) {
				t.Error("it is no longer noted")
			}
			w.camera.set(func(c *camera) { c.fault = nil })
			time.Sleep(time.Minute)
			w.want("move 0.5, stop")
			w.rules.set("rita", privilege.PTZ, true)
			w.moveWell("rita", time.Second)
			w.camera.set(func(c *camera) { c.fault = fault })
			time.Sleep(time.Hour)
			if w.notes.has(Channel{Device: "cam", Number: 1}) {
				t.Error("it does not give up")
			}
		})
	}
}

// TestAStopIsSentAfterARestart: also if the camera is away at the end and at the start.
func TestAStopIsSentAfterARestart(t *testing.T) {
	in(t, func(w *world) {
		w.moveWell("rita", MaxLasting)
		w.camera.set(func(c *camera) { c.fault = ErrUnreachable })
		w.stop()
		w.start()
		time.Sleep(time.Minute)
		w.kill()
		w.start()
		time.Sleep(time.Minute)
		if w.want("move 0.5"); !w.notes.has(Channel{Device: "cam", Number: 1}) {
			t.Error("it is no longer noted")
		}
		w.camera.set(func(c *camera) { c.fault = nil })
		time.Sleep(time.Minute)
		if w.want("move 0.5, stop"); w.notes.has(Channel{Device: "cam", Number: 1}) {
			t.Error("it is still noted")
		}
	})
}

// TestARemovedCameraIsStopped with what was known of it; after a restart it is forgotten.
func TestARemovedCameraIsStopped(t *testing.T) {
	in(t, func(w *world) {
		w.moveWell("olga", MaxLasting)
		w.mu.Lock()
		w.none = true
		w.mu.Unlock()
		w.rules.set("olga", 0, false)
		w.Changed(access.Change{Device: "cam"})
		if err := w.desk.AwaitStops(context.Background()); err != nil {
			t.Error(err)
		}
		w.want("move 0.5, stop")
		_ = w.notes.Note(Channel{Device: "cam", Number: 1})
		w.kill()
		w.start()
		time.Sleep(time.Second)
		if w.notes.has(Channel{Device: "cam", Number: 1}) {
			t.Error("what is nowhere is still noted")
		}
		w.rules.set("olga", privilege.All, true)
		if err := w.move("olga", time.Second); !errors.Is(err, ErrNoHead) {
			t.Errorf("%v", err)
		}
	})
}

// TestFaults: what a camera says is passed on, and what may be moving is stopped.
func TestFaults(t *testing.T) {
	for _, sc := range []struct {
		fault  error
		orders string
	}{{ErrRefused, ""}, {ErrUnreachable, ""}, {ErrNoAnswer, "stop"}, {errors.New("something else"), "stop"}} {
		in(t, func(w *world) {
			w.camera.set(func(c *camera) { c.fault = sc.fault })
			if err := w.move("rita", time.Second); !errors.Is(err, sc.fault) {
				t.Errorf("%v", err)
			}
			w.camera.set(func(c *camera) { c.fault = nil })
			time.Sleep(2 * retryAtMost)
			if w.want(sc.orders); w.notes.has(Channel{Device: "cam", Number: 1}) {
				t.Error("it is noted")
			}
		})
	}
}

// TestARefusedRenewal: the movement ends when it would have without it.
func TestARefusedRenewal(t *testing.T) {
	in(t, func(w *world) {
		w.moveWell("rita", 2*time.Second)
		w.camera.set(func(c *camera) { c.fault = ErrRefused })
		if err := w.move("rita", MaxLasting); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
		w.camera.set(func(c *camera) { c.fault = nil })
		time.Sleep(3 * time.Second)
		w.want("move 0.5, stop")
	})
}

// TestWithoutANoteNothingMoves: a full disk must not leave a camera moving.
func TestWithoutANoteNothingMoves(t *testing.T) {
	in(t, func(w *world) {
		w.notes.err = errors.New("no space left")
		if err := w.move("rita", time.Second); !errors.Is(err, ErrNotNoted) {
			t.Error(err)
		}
		w.want("")
	})
}

// TestReadersTakeTurns: many who ask at once ask the camera little.
func TestReadersTakeTurns(t *testing.T) {
	in(t, func(w *world) {
		w.camera.set(func(c *camera) { c.slow = 100 * time.Millisecond })
		done := make(chan error)
		const readers = 40
		for range readers {
			go func() { _, err := w.desk.Presets(context.Background(), use("rita")); done <- err }()
		}
		for range readers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if w.camera.asked != 1 {
			t.Errorf("the camera was asked %d times", w.camera.asked)
		}
	})
}

// TestAReaderWithoutThePrivilege: the answer that comes after the end of it is not told.
func TestAReaderWithoutThePrivilege(t *testing.T) {
	in(t, func(w *world) {
		w.camera.set(func(c *camera) { c.slow = time.Second })
		done := make(chan error)
		go func() { _, err := w.desk.Presets(context.Background(), use("rita")); done <- err }()
		synctest.Wait()
		w.revoke("rita")
		if err := <-done; deniedBy(err) == access.Allowed {
			t.Errorf("%v", err)
		}
	})
}

// TestAfterTheEnd: a desk that closes takes no orders.
func TestAfterTheEnd(t *testing.T) {
	in(t, func(w *world) {
		w.stop()
		if err := w.move("olga", time.Second); !errors.Is(err, ErrClosing) {
			t.Error(err)
		}
		if _, err := w.desk.Presets(context.Background(), use("olga")); !errors.Is(err, ErrClosing) {
			t.Error(err)
		}
		if n := len(w.InUse("cam")); n != 0 {
			t.Errorf("%d permits are held", n)
		}
	})
}

// TestNothingIsKept: channels that nobody moves are forgotten.
func TestNothingIsKept(t *testing.T) {
	in(t, func(w *world) {
		for n := range 100 {
			u := use("rita")
			u.Device, u.Channel = ids.Device("cam-"+string(rune('a'+n%26))), n+1
			if err := w.desk.Relative(context.Background(), u, Vector{Pan: 1}); err != nil {
				t.Fatal(err)
			}
			_ = w.desk.Release(context.Background(), u)
		}
		time.Sleep(time.Minute)
		w.desk.mu.Lock()
		defer w.desk.mu.Unlock()
		if len(w.desk.channels) != 0 || len(w.desk.halts) != 0 {
			t.Errorf("%d channels and %d halts are kept", len(w.desk.channels), len(w.desk.halts))
		}
	})
}
