package rtsp

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/projections/access"
	"latchkey/streaming/cameratest"
)

// delivered takes what the kernel holds of UDP packets, and counts it.
func (p *player) delivered() int {
	n := 0
	buf := make([]byte, 2048)
	for _, c := range p.udp {
		raw, err := c.SyscallConn()
		if err != nil {
			return n
		}
		_ = c.SetReadDeadline(time.Time{})
		_ = raw.Read(func(fd uintptr) bool {
			for {
				if _, err := syscall.Read(int(fd), buf); err != nil {
					return true
				}
				n++
			}
		})
	}
	return n
}

// hears reports whether packets come that were not delivered yet, for some frames
// of the fastest camera here.
func (p *player) hears() bool {
	p.delivered()
	_ = p.udp[0].SetReadDeadline(time.Now().Add(120 * time.Millisecond))
	_, err := p.udp[0].Read(make([]byte, 2048))
	return err == nil
}

// TestRecheckCuts: whatever takes the right away, over TCP and UDP, and nobody
// else is touched.
func TestRecheckCuts(t *testing.T) {
	changes := map[string]func(t *testing.T, h *house){
		"edited": func(t *testing.T, h *house) {
			h.grants.grant("ann", "dev-1", 1, privilege.Playback)
			h.recheck(t, "ann", "dev-1", "")
		},
		"removed":     func(t *testing.T, h *house) { h.grants.remove("ann", "dev-1"); h.recheck(t, "", "dev-1", "") },
		"key revoked": func(t *testing.T, h *house) { h.grants.revokeKey("kann"); h.recheck(t, "", "", "kann") },
		"key moved": func(t *testing.T, h *house) {
			h.grants.key(access.Key{Name: "kann", Account: "eve"}, "secret")
			h.recheck(t, "ann", "", "")
		},
		"key bound": func(t *testing.T, h *house) {
			h.grants.key(access.Key{Name: "kann", Account: "ann", Device: "dev-2"}, "secret")
			h.recheck(t, "", "", "kann")
		},
	}
	for name, change := range changes {
		for _, transport := range []string{"tcp", "udp"} {
			t.Run(name+" "+transport, func(t *testing.T) {
				t.Parallel()
				h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.CheckEvery = time.Hour })
				h.grants.key(access.Key{Name: "kbob", Account: "bob"}, "secret")
				h.grants.grant("bob", "dev-1", 1, privilege.LiveView)
				p := h.watching(t, "/dev-1/1", annKey, transport)
				bob := h.watching(t, "/dev-1/1", "kbob:secret", transport)
				for _, who := range []*player{p, bob} {
					if err := who.receive(10); err != nil {
						t.Fatal(err)
					}
				}
				if name == "removed" {
					defer h.grants.remove("bob", "dev-1")
				}
				if transport == "udp" {
					change(t, h)
					if p.hears() {
						t.Error("packets come after the answer")
					}
				} else {
					change(t, h)
					if _, err := p.drain(); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("ended with %v", err)
					}
				}
				if err := bob.receive(30); err != nil {
					t.Errorf("another viewer: %v", err)
				}
			})
		}
	}
}

// isGoodbye reports whether it ends what an RTP packet belongs to.
func (in incoming) isGoodbye(of incoming) bool {
	return in.channel == 1 && len(in.data) == 16 && in.data[9] == 203 && bytes.Equal(in.data[12:], of.data[8:12])
}

// TestViewersAreToldOfTheEnd: some players do not look at the connection, and would wait.
func TestViewersAreToldOfTheEnd(t *testing.T) {
	for name, end := range map[string]func(h *house, c *cameratest.Camera){
		"revoked":     func(h *house, _ *cameratest.Camera) { h.grants.revokeKey("kann"); h.recheck(t, "", "", "kann") },
		"camera gone": func(_ *house, c *cameratest.Camera) { c.Close() },
		"door closed": func(h *house, _ *cameratest.Camera) { _ = h.Close() },
	} {
		for _, transport := range []string{"rtsp", "rtsps"} {
			t.Run(name+" "+transport, func(t *testing.T) {
				t.Parallel()
				with, trust := secured(t)
				camera := (&cameratest.Camera{}).Start(t)
				h := open(t, camera, with, func(c *config) { c.CheckEvery = time.Hour })
				p := h.player(t, "/dev-1/1", annKey)
				if transport == "rtsps" {
					p = h.securePlayer(t, "/dev-1/1", annKey, trust)
				}
				p.watches("tcp")
				first := p.next(t)
				end(h, camera)
				for !p.next(t).isGoodbye(first) { // without one the connection ends it
				}
			})
		}
	}
}

// TestRecheckLeavesThePermitted: a change that takes nothing away ends nobody.
func TestRecheckLeavesThePermitted(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t))
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	h.grants.grant("ann", "dev-1", 1, privilege.LiveView|privilege.PTZ)
	h.recheck(t, "", "", "")
	if err := p.receive(100); err != nil {
		t.Error(err)
	}
}

// TestRevokedBetweenRequests: each of DESCRIBE, SETUP and PLAY is checked, a
// repeated PLAY too, and about what was set up.
func TestRevokedBetweenRequests(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.CheckEvery = time.Hour })
		revoke := func() { h.grants.grant("ann", "dev-1", 1, privilege.None) }
		allow := func() { h.grants.grant("ann", "dev-1", 1, privilege.LiveView) }

		p := h.player(t, "/dev-1/1", annKey)
		if r, err := p.describe(); err != nil || r.status != 200 {
			t.Fatal(r, err)
		}
		revoke()
		if r, err := p.setup(transport); err != nil || r.status != 403 {
			t.Errorf("SETUP after the revocation: %v, %v", r, err)
		}
		allow()
		if r, err := p.setup(transport); err != nil || r.status != 200 {
			t.Fatal(r, err)
		}
		revoke()
		if r, err := p.play(); err != nil || r.status != 403 {
			t.Errorf("PLAY after the revocation: %v, %v", r, err)
		}
		allow()
		if r, err := p.play(); err != nil || r.status != 200 {
			t.Fatal(r, err)
		}
		h.grants.grant("ann", "dev-9", 1, privilege.LiveView) // may be seen, was not set up
		revoke()
		if r, err := p.do("PLAY", "rtsp://"+h.addr+"/dev-9/1"); err == nil && r.status == 200 {
			t.Errorf("a repeated PLAY of another path goes on over %s", transport)
		}
		eventually(t, "the viewer is cut", func() bool { return h.viewers.count() == 0 })
	}
}

// TestKeyRunsOut: a timer ends the viewer, without any event.
func TestKeyRunsOut(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.CheckEvery = time.Hour })
	h.grants.key(access.Key{Name: "short", Account: "ann", Expires: time.Now().Add(400 * time.Millisecond)}, "secret")
	p := h.watching(t, "/dev-1/1", "short:secret", "tcp")
	if _, err := p.drain(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ended with %v", err)
	}
	if got := h.status(t, "/dev-1/1", "short:secret"); got != 401 {
		t.Errorf("a key that has run out: %d", got)
	}
}

// TestNotKnowingEndsEverybody: without a Recheck, too.
func TestNotKnowingEndsEverybody(t *testing.T) {
	h := open(t, (&cameratest.Camera{}).Start(t), func(c *config) { c.CheckEvery = 50 * time.Millisecond })
	p := h.watching(t, "/dev-1/1", annKey, "tcp")
	h.grants.setSick(true)
	if _, err := p.drain(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ended with %v", err)
	}
}

// TestNoPacketAfterRecheck races viewers that come with revocations: whatever
// step they are at, nothing reaches them once Recheck has returned.
func TestNoPacketAfterRecheck(t *testing.T) {
	h := open(t, (&cameratest.Camera{Rate: 2_000_000, Frame: 10_000}).Start(t), func(c *config) { c.CheckEvery = time.Hour })
	keep := h.watching(t, "/dev-1/1", annKey, "tcp") // keeps the upstream open
	go func() {
		for keep.receive(1) == nil {
		}
	}()
	defer keep.close()
	for _, transport := range []string{"tcp", "udp"} {
		var watched, late atomic.Int32
		for round := range 40 {
			account := fmt.Sprint(transport, round)
			h.grants.key(access.Key{Name: ids.Key(account), Account: ids.Account(account)}, "secret")
			h.grants.grant(account, "dev-1", 1, privilege.LiveView)
			var wg sync.WaitGroup
			revoked := make(chan struct{})
			for range 4 {
				wg.Go(func() { h.raceViewer(account, transport, revoked, &watched, &late) })
			}
			time.Sleep(time.Duration(round%20) * 500 * time.Microsecond) // any moment will do
			h.grants.remove(account, "dev-1")
			h.recheck(t, ids.Account(account), "", "")
			close(revoked)
			wg.Wait()
		}
		if late.Load() > 0 {
			t.Errorf("%s: %d viewers got something after the answer", transport, late.Load())
		}
		if watched.Load() == 0 {
			t.Errorf("%s: nobody watched: the race was not run", transport)
		}
	}
}

// raceViewer watches until it is cut; after that it must get nothing.
func (h *house) raceViewer(account, transport string, revoked <-chan struct{}, watched, late *atomic.Int32) {
	p, err := h.dial("/dev-1/1", account+":secret")
	if err != nil {
		return
	}
	defer p.close()
	if status, err := p.watch(transport); err != nil || status != 200 {
		<-revoked
		if transport == "udp" && p.udp[0] != nil && p.hears() {
			late.Add(1)
		}
		return
	}
	if transport == "udp" {
		<-revoked
		if p.delivered() > 0 {
			watched.Add(1)
		}
		if p.hears() {
			late.Add(1)
		}
		return
	}
	err = p.receive(1)
	if err == nil {
		watched.Add(1)
		<-revoked
		_, err = p.drain()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		late.Add(1)
	}
}
