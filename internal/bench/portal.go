package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"latchkey/internal/bench/fanout"
)

const (
	portalViewers = 200
	portalGuests  = 4 // recipients of the camera, a quarter of the viewers each
)

// portalWorld is what the portal's live view is measured with.
type portalWorld struct {
	*bench
	camera, sealer, pion *fanout.Process
	door                 *served
	owner                *account
	device               string
	guests               []*guestOf
}

// guestOf is a recipient who watches in browsers.
type guestOf struct {
	*account
	share   string
	viewers []*fanout.Browser
}

// benchPortal measures live view by WebRTC beside the least that it can cost, and beside
// pion's own fan-out. Camera, floor, pion and the service are processes of their own; the
// viewers are in this one.
func benchPortal(b *bench) error {
	w := &portalWorld{bench: b}
	defer w.close()
	if err := w.start(); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		run  func() error
	}{
		{"200 viewers", w.cost},
		{"revocations", w.revocations},
	} {
		b.say("portal: %s", step.what)
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func (w *portalWorld) start() (err error) {
	if w.camera, err = fanout.StartCamera(); err != nil {
		return err
	}
	if w.sealer, err = fanout.StartSealer(w.camera.Address); err != nil {
		return err
	}
	if w.pion, err = fanout.StartPion(w.camera.Address); err != nil {
		return err
	}
	port, err := fanout.FreeAddress()
	if err != nil {
		return err
	}
	w.door, err = startServe(w.bench, "", "portal", "CAMERA_NETS=127.0.0.0/8,::1/128", "TRUSTED_PROXIES=127.0.0.0/8", "WEBRTC="+port)
	if err != nil {
		return err
	}
	return w.populate()
}

func (w *portalWorld) close() {
	if w.door != nil {
		w.door.stop()
	}
	for _, p := range []*fanout.Process{w.sealer, w.pion, w.camera} {
		if p != nil {
			p.Stop()
		}
	}
}

// populate makes the owner, the camera, and guests at addresses of their own.
func (w *portalWorld) populate() (err error) {
	if w.owner, err = w.door.account(w.ctx, "portal-owner"); err != nil {
		return err
	}
	device := newDevice("portal")
	device["rtsp_url"] = "rtsp://" + w.camera.Address + fanout.CameraPath
	var added struct{ ID string }
	if err := w.owner.call(w.ctx, "POST", "/devices", device, &added); err != nil {
		return err
	}
	w.device = added.ID
	for n := range portalGuests {
		g := &guestOf{}
		if g.account, err = w.door.account(w.ctx, fmt.Sprintf("portal-guest%d", n)); err != nil {
			return err
		}
		g.from = fmt.Sprintf("192.0.2.%d", n+1)
		w.guests = append(w.guests, g)
		if err := w.invite(g); err != nil {
			return err
		}
	}
	return nil
}

func (w *portalWorld) invite(g *guestOf) error {
	var share struct{ ID string }
	if err := w.owner.call(w.ctx, "POST", "/shares", newShare(g.login, w.device), &share); err != nil {
		return err
	}
	g.share = share.ID
	return g.call(w.ctx, "POST", "/shares/"+share.ID+"/devices/"+w.device+"/accept", nil, nil)
}

// post sends an offer and returns the answer.
func (a *account) post(ctx context.Context, url, offer string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(offer))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	if a != nil {
		req.Header.Set("Authorization", "Bearer "+a.token)
		req.Header.Set("X-Forwarded-For", a.from)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s: %s", url, res.Status, text)
	}
	return string(text), err
}

// The ways to watch the camera: through the service, pion's fan-out, and the floor.

func (w *portalWorld) throughPortal(h *fanout.Hall, n int) (*fanout.Browser, error) {
	return w.throughGuest(w.guests[n%len(w.guests)])(h, n)
}

func (w *portalWorld) throughGuest(g *guestOf) joining {
	return func(h *fanout.Hall, _ int) (*fanout.Browser, error) {
		return h.Join(w.ctx, func(offer string) (string, error) {
			return g.post(w.ctx, g.api+"/devices/"+w.device+"/channels/1/whep", offer)
		})
	}
}

func (w *portalWorld) throughPion(h *fanout.Hall, _ int) (*fanout.Browser, error) {
	return h.Join(w.ctx, func(offer string) (string, error) {
		return (*account)(nil).post(w.ctx, "http://"+w.pion.Address+"/", offer)
	})
}

func (w *portalWorld) throughSealer(h *fanout.Hall, _ int) (*fanout.Browser, error) {
	return h.JoinPlainly(w.ctx, w.sealer)
}

type joining func(h *fanout.Hall, n int) (*fanout.Browser, error)

// gather lets viewers watch, some at a time.
func (w *portalWorld) gather(h *fanout.Hall, n int, join joining) ([]*fanout.Browser, error) {
	const atOnce = 8
	viewers, failed := make([]*fanout.Browser, n), make([]error, atOnce)
	var wg sync.WaitGroup
	for part := range atOnce {
		wg.Go(func() {
			for i := part; i < n && failed[part] == nil; i += atOnce {
				viewers[i], failed[part] = join(h, i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return viewers, pause(w.ctx, doorSettle)
}

// hall returns a hall at the camera.
func (w *portalWorld) hall() (*fanout.Hall, error) {
	return fanout.NewHall(w.ctx, fanout.Target{Address: w.camera.Address, Path: fanout.CameraPath, Over: fanout.TCP})
}

// watched measures an audience that comes and goes.
func (w *portalWorld) watched(pid int, join joining) (fanout.Window, error) {
	h, err := w.hall()
	if err != nil {
		return fanout.Window{}, err
	}
	defer h.Close()
	viewers, err := w.gather(h, w.scaled(portalViewers), join)
	if err != nil {
		return fanout.Window{}, err
	}
	return h.Measure(w.ctx, pid, viewers, w.window())
}

// cost measures 200 viewers of the camera through the service, the floor and pion, in turns.
func (w *portalWorld) cost() error {
	sides := []struct {
		name string
		pid  int
		join joining
		turns
		overflow int
	}{
		{name: "floor", pid: w.sealer.PID, join: w.throughSealer},
		{name: "pion", pid: w.pion.PID, join: w.throughPion},
		{name: "portal", pid: w.door.cmd.Process.Pid, join: w.throughPortal},
	}
	var ofFloor, ofPion []float64
	for turn := range w.turns() {
		for n := range sides {
			s := &sides[n]
			before := fanout.ReceiveErrors()
			window, err := w.watched(s.pid, s.join)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.add(window)
			s.overflow += fanout.ReceiveErrors() - before
			w.say("portal: %s, turn %d: %.3f CPU s/Gbit, p50 %.1f ms, p99 %.1f ms, %d lost", s.name, turn+1, window.PerGbit(), ms(window.Late(0.5)), ms(window.Late(0.99)), window.Lost)
		}
		ofFloor = append(ofFloor, sides[2].cost[turn]/sides[0].cost[turn])
		ofPion = append(ofPion, sides[2].cost[turn]/sides[1].cost[turn])
	}
	floor, pion, portal := sides[0].turns, sides[1].turns, sides[2].turns
	name := fmt.Sprintf("%d viewers by WebRTC: ", w.scaled(portalViewers))
	cost := fmt.Sprintf("%.3f s/Gbit", median(portal.cost))
	w.add(name+"CPU", cost, fmt.Sprintf("encrypt and sendmmsg %.3f s/Gbit", median(floor.cost)), median(ofFloor), "at most 1.5")
	w.add(name+"CPU", cost, fmt.Sprintf("pion's plain fan-out %.3f s/Gbit", median(pion.cost)), median(ofPion), "at most 0.6")
	for _, r := range []struct {
		p                   string
		portal, floor, pion []float64
		goal                string
	}{{"p50", portal.p50, floor.p50, pion.p50, "2 ms"}, {"p99", portal.p99, floor.p99, pion.p99, "6 ms"}} {
		w.add(name+"a picture is later by, "+r.p, fmt.Sprintf("%.1f ms", median(r.portal)), fmt.Sprintf("floor %.1f ms, pion %.1f ms", median(r.floor), median(r.pion)),
			median(r.portal)/median(r.floor), "at most "+r.goal)
	}
	w.add(name+"packets lost", fmt.Sprintf("%d", portal.lost), fmt.Sprintf("floor %d, pion %d; the viewers' sockets had no room for %d, %d and %d", floor.lost, pion.lost,
		sides[2].overflow, sides[0].overflow, sides[1].overflow), float64(portal.lost)/float64(max(1, floor.lost)), "none")
	return nil
}

// portalRevocations is how often each recipient is revoked.
const portalRevocations = 2

// revocations takes the camera back from one of four recipients at a time: only the viewers
// of that one may end.
func (w *portalWorld) revocations() error {
	h, err := w.hall()
	if err != nil {
		return err
	}
	defer h.Close()
	n := w.scaled(portalViewers)
	all, err := w.gather(h, n, w.throughPortal)
	if err != nil {
		return err
	}
	for i, v := range all {
		g := w.guests[i%len(w.guests)]
		g.viewers = append(g.viewers, v)
	}
	var took, answers []time.Duration
	most := 0
	for round := range w.scaled(portalRevocations * portalGuests) {
		g := w.guests[round%len(w.guests)]
		r, err := w.revoke(h, g)
		if err != nil {
			return err
		}
		took, answers, most = append(took, r.last...), append(answers, r.answer), max(most, r.after)
		if err := w.othersWatch(h, g); err != nil {
			return err
		}
		h.Leave(g.viewers)
		if err := w.invite(g); err != nil {
			return err
		}
		if g.viewers, err = w.gather(h, n/portalGuests, w.throughGuest(g)); err != nil {
			return err
		}
	}
	p99 := percentile(took, 0.99)
	name := fmt.Sprintf("%d viewers by WebRTC, one of %d recipients is revoked: ", n, portalGuests)
	w.add(name+"last packet after the request, p99", fmt.Sprintf("%.0f ms, p50 %.0f ms", ms(p99), ms(percentile(took, 0.5))),
		fmt.Sprintf("250 ms; answered after %.0f ms", ms(percentile(answers, 0.5))), p99.Seconds()/0.25, "at most 1")
	w.add(name+"after the answer", fmt.Sprintf("%d packets at most", most), "none", float64(most), "none")
	return nil
}

// revokedBrowsers is what became of the viewers of a guest.
type revokedBrowsers struct {
	last   []time.Duration // from the request to the last packet of each viewer
	answer time.Duration
	after  int // packets after the answer, the most of a viewer
}

func (w *portalWorld) revoke(h *fanout.Hall, g *guestOf) (revokedBrowsers, error) {
	var r revokedBrowsers
	began := time.Now()
	if err := w.owner.call(w.ctx, "DELETE", "/shares/"+g.share, nil, nil); err != nil {
		return r, err
	}
	r.answer = time.Since(began)
	if err := h.CatchUp(w.ctx); err != nil {
		return r, err
	}
	before := h.See(g.viewers)
	if err := pause(w.ctx, 500*time.Millisecond); err != nil {
		return r, err
	}
	for i, after := range h.See(g.viewers) {
		r.last = append(r.last, max(0, after.Last.Sub(began)))
		r.after = max(r.after, after.Packets-before[i].Packets)
	}
	return r, nil
}

// othersWatch fails unless everybody else still gets packets.
func (w *portalWorld) othersWatch(h *fanout.Hall, revoked *guestOf) error {
	var others []*fanout.Browser
	for _, g := range w.guests {
		if g != revoked {
			others = append(others, g.viewers...)
		}
	}
	before := h.See(others)
	if err := pause(w.ctx, 500*time.Millisecond); err != nil {
		return err
	}
	for i, after := range h.See(others) {
		if after.Packets == before[i].Packets {
			return errors.New("a revocation ended a viewer of another recipient")
		}
	}
	return nil
}
