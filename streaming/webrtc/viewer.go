package webrtc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/time/rate"

	"latchkey/projections/access"
	"latchkey/streaming/upstream"
)

// The reasons for the end of a viewer, besides those of its permit. They are labels of
// metrics.
const (
	endedRefused access.Reason = "refused" // before it began
	endedLeft    access.Reason = "left"
	endedSession access.Reason = "session"
	endedSetup   access.Reason = "setup"
	endedSilent  access.Reason = "silent"
	endedCamera  access.Reason = "camera"
	endedBFrames access.Reason = "b_frames"
	endedClosing access.Reason = "closing"
)

const (
	// tickEvery is how often a viewer is looked after; usedEvery how often its use is noted.
	tickEvery = time.Second
	usedEvery = 30 * time.Second
	// A viewer that asks for a key frame this soon after its beginning has not decoded any:
	// it gets the first ones again, this often.
	restartWithin = 5 * time.Second
	maxRestarts   = 4
	// resendEvery and resendBurst limit what a viewer may ask for again, in packets.
	resendEvery = time.Millisecond
	resendBurst = maxHistory
)

// viewer is one peer, from its offer to its end.
type viewer struct {
	door   *Door
	log    *slog.Logger
	id     string
	use    Use
	source string // of its address, for limits

	ctx    context.Context // ends with the viewer
	cancel context.CancelFunc
	ending atomic.Pointer[ending]
	done   chan struct{} // closed when nothing more is sent

	permit  *access.Permit
	lease   *upstream.Lease
	stream  *stream
	tracks  []*track // by track of the flow; nil: not sent
	talker  *talker  // nil: it watches
	peer    *webrtc.PeerConnection
	box     outbox
	fan     *fan
	parted  bool // guarded by the fan's sending
	roused  bool // guarded by the fan's mu
	paused  bool // used by the fan's run
	resends *rate.Limiter

	connected chan struct{} // closed when something can be sent
	connect   sync.Once
	heard     atomic.Int64 // when something authenticated came, in ns since 1970
	began     atomic.Int64 // when it joined, in ns since 1970; 0: it has not
	restarts  atomic.Int32
	watched   bool
	wg        sync.WaitGroup
}

// ending is why and when a viewer was ended.
type ending struct {
	reason access.Reason
	at     time.Time
}

// end ends the viewer, without waiting: v.done is closed when nothing more is sent.
func (v *viewer) end(reason access.Reason) {
	if v.ending.CompareAndSwap(nil, &ending{reason, time.Now()}) {
		v.log.Info("a viewer by WebRTC is ended", "reason", reason)
		v.door.metrics.ended.WithLabelValues(string(reason)).Inc()
	}
	v.cancel()
}

// may reports whether something may be sent to the viewer now.
func (v *viewer) may() bool {
	return v.ending.Load() == nil && v.permit.Check(v.door.cfg.Now()) == access.Allowed
}

// run serves a viewer that has its answer, until it ends.
func (v *viewer) run() {
	defer v.teardown()
	defer func() {
		if fault := recover(); fault != nil {
			v.log.Error("serving a viewer panicked", "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
			v.end(access.Unknown)
		}
	}()
	if !v.awaitConnection() {
		return
	}
	if v.talker != nil {
		v.heard.Store(time.Now().UnixNano())
		v.talker.serve()
		return
	}
	v.watched = true
	v.noteUse() // before the first packet
	v.door.metrics.started.Inc()
	v.log.Info("a viewer started watching by WebRTC")
	v.heard.Store(time.Now().UnixNano())
	for _, sender := range v.peer.GetSenders() {
		if t, ok := sender.Track().(*track); ok {
			v.wg.Go(func() { v.listen(t, sender) })
		}
	}
	v.stream.join(v)
	v.began.Store(time.Now().UnixNano())
	v.serve()
}

// awaitConnection waits until something can be sent, for as long as setting up may take.
func (v *viewer) awaitConnection() bool {
	limit := time.NewTimer(v.door.cfg.SetupWithin)
	defer limit.Stop()
	ready := []chan struct{}{v.connected}
	for _, t := range v.tracks {
		if t != nil {
			ready = append(ready, t.bound)
		}
	}
	for _, c := range ready {
		select {
		case <-c:
		case <-limit.C:
			v.end(endedSetup)
			return false
		case <-v.ctx.Done():
			return false
		}
	}
	return true
}

// serve looks after the viewer until it ends. What it gets is sent by its fan.
func (v *viewer) serve() {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	used := time.Now()
	for v.ctx.Err() == nil {
		select {
		case now := <-tick.C:
			if now.Sub(time.Unix(0, v.heard.Load())) > v.door.cfg.SilentWithin {
				v.end(endedSilent)
			}
			if now.Sub(used) >= usedEvery {
				v.noteUse()
				used = now
			}
		case <-v.ctx.Done():
		}
	}
}

// start gives the viewer the catch-up.
func (v *viewer) start(catch []*burst) {
	v.box.start(catch)
	v.fan.rouse(v)
	v.fan.signal()
}

// flush sends a part of what waits, and reports whether there is more. The fan calls it.
func (v *viewer) flush() (more bool) {
	list, more := v.box.take()
	for _, b := range list {
		if !v.may() || v.send(b) != nil {
			v.box.miss()
			return false
		}
		v.door.count(b)
	}
	v.report()
	return more
}

// send sends a burst.
func (v *viewer) send(b *burst) error {
	for _, p := range b.pieces {
		if t := v.tracks[p.track]; t == nil {
			continue
		} else if err := t.send(p); err != nil {
			return err
		}
	}
	return nil
}

// report sends the reports that are due.
func (v *viewer) report() {
	now := v.door.cfg.Now()
	for _, t := range v.tracks {
		if t == nil {
			continue
		}
		if r := t.reportOf(v.stream.flow, now); r != nil && v.may() {
			_ = v.peer.WriteRTCP([]rtcp.Packet{r})
		}
	}
}

// listen reads what the viewer reports of a track, until it ends. It has been authenticated.
func (v *viewer) listen(t *track, sender *webrtc.RTPSender) {
	data := make([]byte, 2048)
	for {
		n, _, err := sender.Read(data)
		if err != nil {
			return
		}
		v.heard.Store(time.Now().UnixNano())
		packets, err := rtcp.Unmarshal(data[:n])
		if err != nil {
			v.door.metrics.broken.Inc()
			continue
		}
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.TransportLayerNack:
				v.resend(t, p)
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				v.door.metrics.pli.Inc()
				v.restart()
			}
		}
	}
}

// restart sends what was played since the last key frame once more to a viewer that has just
// begun: it was not ready for the first packets. Later the next key frame repairs what was
// lost, and cameras are not asked for one: a viewer that has decoded pictures takes no older
// ones.
func (v *viewer) restart() {
	began := v.began.Load()
	if began == 0 || time.Now().UnixNano()-began > int64(restartWithin) || v.restarts.Add(1) > maxRestarts {
		return
	}
	v.stream.rejoin(v)
}

// resend sends again what the viewer has lost.
func (v *viewer) resend(t *track, lost *rtcp.TransportLayerNack) {
	if lost.MediaSSRC != t.ssrc {
		return
	}
	v.fan.with(v, func() {
		defer v.fan.batch.flush()
		for _, pair := range lost.Nacks {
			for _, number := range pair.PacketList() {
				if !v.resends.Allow() || !v.may() || t.again(number) != nil {
					return
				}
				v.door.metrics.resent.Inc()
			}
		}
	})
}

func (v *viewer) noteUse() {
	if v.door.cfg.Uses != nil {
		v.door.cfg.Uses.Used(v.use.access(), v.door.cfg.Now())
	}
}

// teardown undoes Start. Nothing is sent after it.
func (v *viewer) teardown() {
	v.cancel()
	if v.watched {
		v.stream.part(v)
	}
	if v.talker != nil {
		v.talker.Stop()
	}
	v.fan.part(v)
	if v.peer != nil {
		if err := v.peer.GracefulClose(); err != nil {
			v.log.Debug("closing a peer failed", "error", err)
		}
	}
	v.wg.Wait()
	if v.talker != nil {
		<-v.talker.Settled()
	}
	if v.watched || v.talker != nil && v.talker.Said() {
		v.noteUse()
	}
	if v.stream != nil {
		v.door.streams.leave(v.stream)
	}
	if v.lease != nil {
		v.lease.Release()
	}
	// After nothing more is sent: until then a revocation has to find the viewer.
	if v.permit != nil {
		v.permit.Release()
	}
	v.door.viewers.remove(v)
	close(v.done)
}
