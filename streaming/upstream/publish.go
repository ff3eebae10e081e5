package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"latchkey/domain/ids"
	"latchkey/streaming/rtspclient"
)

// Publication is a stream that its camera brings, instead of one that is pulled. While it
// lasts, the camera is not dialed for that stream.
type Publication struct {
	pull   *pull
	of     Stream
	desc   *description.Session // for viewers
	tracks map[*description.Media]*rtspclient.Track
	stop   context.CancelCauseFunc
	over   <-chan struct{}
}

// Errors of Publish.
var (
	// ErrPublished is returned if the stream is already being published.
	ErrPublished = errors.New("the stream is already being published")
	// ErrUnusable is returned if nothing can be made of what is to be published.
	ErrUnusable = errors.New("nothing of the description can be published")
)

// Why a publication was ended, if not by silence.
var (
	errOver     = errors.New("the publication was ended")
	errLost     = fmt.Errorf("the publisher was lost: %w", rtspclient.ErrEnded)
	errReplaced = errors.New("another publication of the stream follows")
)

// publishTries is how often a pull that is in the way is ended: viewers may begin another
// one in between.
const publishTries = 5

// Publish begins a stream with what the description has of pictures and sound. Back channels
// and metadata are left out, as those of a camera that is pulled. A pull of the stream ends,
// and its viewers join again.
//
// The publication ends if nothing comes for the silence limit of cameras.
func (p *Pool) Publish(ctx context.Context, of Stream, theirs *description.Session) (*Publication, error) {
	pub, err := p.prepare(theirs)
	if err != nil {
		return nil, err
	}
	for range publishTries {
		over, err := p.begin(of, pub)
		if err != nil || over == nil {
			return pub, err
		}
		select {
		case <-over:
		case <-ctx.Done():
			return nil, fmt.Errorf("ending the pull of a stream that is published: %w", ctx.Err())
		}
	}
	return nil, ErrPublished
}

// prepare describes the stream to viewers.
func (p *Pool) prepare(theirs *description.Session) (*Publication, error) {
	described := &rtspclient.Description{}
	pub := &Publication{pull: &pull{pool: p}, tracks: map[*description.Media]*rtspclient.Track{}}
	for _, m := range theirs.Medias {
		t := &rtspclient.Track{Media: m}
		pub.tracks[m] = t
		described.Tracks = append(described.Tracks, t)
	}
	pairs, err := describeAnew(described)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	pub.desc = &description.Session{}
	var tracks []pulled
	for _, pair := range pairs {
		tracks = append(tracks, pulled{pair.theirs, newTrack(len(pub.desc.Medias), pair.ours)})
		pub.desc.Medias = append(pub.desc.Medias, pair.ours)
	}
	pub.pull.last.Store(time.Now().UnixNano())
	pub.pull.tracks.Store(&tracks)
	return pub, nil
}

// begin makes the publication the stream. If it is being pulled or dialed, begin ends that
// instead, and returns what is closed when it has ended.
func (p *Pool) begin(of Stream, pub *Publication) (<-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.upstream(of)
	switch {
	case p.closed, p.cfg.Privileges.Gone(of.Device, p.cfg.Now()):
		return nil, ErrLeft
	case !u.isOver() && u.published:
		return nil, ErrPublished
	case !u.isOver():
		u.stop()
		return u.over, nil
	}
	ctx, stop := context.WithCancelCause(p.ctx)
	over := make(chan struct{})
	u.stop, u.over, u.left = func() { stop(errOver) }, over, time.Time{}
	pub.pull.flow = newFlow(pub.desc, u.space)
	u.flowing, u.published, u.err, u.refs, u.retry = pub.pull.flow, true, nil, 0, backoff{}
	pub.of, pub.stop, pub.over = of, stop, over
	p.observe(of, pub.pull.flow)
	p.pulls.Go(func() {
		defer close(over)
		defer stop(errOver)
		p.runPublished(ctx, u, pub.pull)
	})
	return nil, nil
}

// runPublished waits for the end of a publication. Viewers may have the stream pulled at
// once then.
func (p *Pool) runPublished(ctx context.Context, u *upstream, pl *pull) {
	p.cfg.Reached(u.of.Device, "")
	reason := pl.wait(ctx)
	why := cmp.Or(reason, context.Cause(ctx))
	if errors.Is(why, errSilent) || errors.Is(why, errLost) {
		p.cfg.Dropped(u.of.Device, faultOf(why).label)
	}
	p.ended(u, nil, 0)
	if p.ctx.Err() == nil && !errors.Is(why, errReplaced) {
		p.gone(u.of.Device, errors.Is(why, errSilent))
	}
	pl.close(reason)
}

// gone reports that a device publishes no more, unless another of its streams plays. It holds
// the mutex, so that one that begins is reported after it.
func (p *Pool) gone(device ids.Device, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for of, u := range p.streams {
		if of.Device == device && u.flowing != nil {
			return
		}
	}
	p.cfg.Unpublished(device, silent)
}

// Packet passes on a packet of a media of the description, which it may change.
func (pub *Publication) Packet(m *description.Media, data []byte, now time.Time) {
	pub.pull.packet(pub.tracks[m], data, now)
}

// Report notes what the publisher says of its clock.
func (pub *Publication) Report(m *description.Media, ssrc uint32, ntp uint64, rtp uint32) {
	pub.pull.report(pub.tracks[m], rtspclient.SenderReport{SSRC: ssrc, NTP: ntp, RTP: rtp})
}

// Done is closed when the publication has ended.
func (pub *Publication) Done() <-chan struct{} { return pub.over }

// Cut ends the publication, without waiting. No packet that comes later is passed on.
func (pub *Publication) Cut() { pub.cut(errOver) }

func (pub *Publication) cut(why error) {
	pub.pull.tracks.Store(nil)
	pub.stop(why)
}

// End ends the publication and waits for that: its readers have ended.
func (pub *Publication) End() {
	pub.Cut()
	<-pub.over
}

// Lose is End for a publication whose publisher was lost: that interrupts the stream.
func (pub *Publication) Lose() {
	pub.cut(errLost)
	<-pub.over
}

// Replace is Cut for a publication that another one of the same publisher follows: its device
// stays where it is. If none begins, call Missed.
func (pub *Publication) Replace() { pub.cut(errReplaced) }

// Missed reports that what should have replaced the publication did not begin.
func (pub *Publication) Missed() { pub.pull.pool.gone(pub.of.Device, false) }
