package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"latchkey/internal/bench/fanout"
)

const (
	recipients = 10 // of one camera, a tenth of the viewers each
	revocation = 20 // rounds
)

// guest is a recipient who watches the shared camera.
type guest struct {
	*account
	auth    string
	share   string
	viewers []*fanout.Viewer
}

// revocations takes a camera back from one of ten recipients at a time, by REST: only the
// viewers of that one may end.
func (d *doorWorld) revocations() error {
	crowd, err := fanout.NewCrowd()
	if err != nil {
		return err
	}
	defer crowd.Close()
	guests := make([]*guest, recipients)
	for i := range guests {
		g := &guest{}
		if g.account, err = d.door.account(d.ctx, fmt.Sprintf("door-guest%d", i)); err != nil {
			return err
		}
		if g.auth, err = g.streamKey(d.ctx); err != nil {
			return err
		}
		if err := d.invite(crowd, g); err != nil {
			return err
		}
		guests[i] = g
	}
	if err := pause(d.ctx, doorSettle); err != nil {
		return err
	}
	var took, answers []time.Duration
	var most int64
	for round := range d.scaled(revocation) {
		r, err := d.revoke(crowd, guests[round%recipients])
		if err != nil {
			return err
		}
		took, answers, most = append(took, r.last...), append(answers, r.answer), max(most, r.after)
		for i, g := range guests {
			if i != round%recipients && slices.ContainsFunc(crowd.See(g.viewers), func(s fanout.Seen) bool { return s.Ended }) {
				return fmt.Errorf("round %d ended a viewer of another recipient", round)
			}
		}
		if err := d.invite(crowd, guests[round%recipients]); err != nil {
			return err
		}
		if err := pause(d.ctx, time.Second); err != nil { // the new viewers catch up
			return err
		}
	}
	p99 := percentile(took, 0.99)
	name := fmt.Sprintf("%d viewers, one of %d recipients is revoked: ", d.scaled(doorManyViewers), recipients)
	d.add(name+"last byte after the request, p99", fmt.Sprintf("%.0f ms, p50 %.0f ms", ms(p99), ms(percentile(took, 0.5))),
		fmt.Sprintf("250 ms; answered after %.0f ms", ms(percentile(answers, 0.5))), p99.Seconds()/0.25, "at most 1")
	d.add(name+"after the answer", fmt.Sprintf("%.1f KiB at most", float64(most)/1024), "128 KiB", float64(most)/(128<<10), "at most 1")
	return nil
}

// invite shares the camera with a guest, whose viewers begin to watch.
func (d *doorWorld) invite(crowd *fanout.Crowd, g *guest) error {
	crowd.Leave(g.viewers)
	var share struct{ ID string }
	if err := d.owner.call(d.ctx, "POST", "/shares", newShare(g.login, d.devices[0]), &share); err != nil {
		return err
	}
	if err := g.call(d.ctx, "POST", "/shares/"+share.ID+"/devices/"+d.devices[0]+"/accept", nil, nil); err != nil {
		return err
	}
	target := d.throughDoor(fanout.TCP).target(0)
	target.Auth = g.auth
	targets := make([]fanout.Target, d.scaled(doorManyViewers)/recipients)
	for i := range targets {
		targets[i] = target
	}
	var err error
	g.share = share.ID
	g.viewers, err = crowd.JoinAll(d.ctx, targets)
	return err
}

// revoked is what became of the viewers of a guest.
type revoked struct {
	last   []time.Duration // from the request to the last packet of each viewer
	answer time.Duration
	after  int64 // bytes of RTP after the answer, the most of a viewer
}

func (d *doorWorld) revoke(crowd *fanout.Crowd, g *guest) (revoked, error) {
	var r revoked
	began := time.Now()
	if err := d.owner.call(d.ctx, "DELETE", "/shares/"+g.share, nil, nil); err != nil {
		return r, err
	}
	r.answer = time.Since(began)
	before := crowd.See(g.viewers)
	after := before
	for slices.ContainsFunc(after, func(s fanout.Seen) bool { return !s.Ended }) {
		if time.Since(began) > 20*time.Second {
			return r, errors.New("viewers still watch 20 s after the revocation")
		}
		if err := pause(d.ctx, time.Millisecond); err != nil {
			return r, err
		}
		after = crowd.See(g.viewers)
	}
	for i := range after {
		r.last = append(r.last, max(0, after[i].Last.Sub(began)))
		r.after = max(r.after, after[i].Bytes-before[i].Bytes)
	}
	return r, nil
}
