package device

import (
	"context"
	"net/url"
	"sync"
	"time"
)

const (
	// pictureFor is how long a picture is given to everybody who asks, and so is a
	// failure: a camera is asked once a second at most.
	pictureFor = time.Second
	// whereFor is how long it is remembered where ONVIF said that the picture is.
	whereFor = 10 * time.Minute
	// maxFetches limits the pictures that are fetched at once, and maxFetchesOfOne those
	// from the devices of one owner.
	maxFetches      = 16
	maxFetchesOfOne = 4
	// maxPictures limits the pictures that are kept, in bytes. Those beyond are given to
	// whoever waited for them.
	maxPictures = 32 << 20
	// maxShots limits the channels that are remembered.
	maxShots = 4096
)

// PicturesConfig configures Pictures. All but Now are required.
type PicturesConfig struct {
	// Fetch gets a picture: see Client.Picture.
	Fetch func(ctx context.Context, cam Camera, channel int, at *url.URL) ([]byte, *url.URL, error)
	// Camera returns how a device is reached, and a name for its owner.
	Camera func(ctx context.Context, device string) (cam Camera, owner string, err error)
	Now    func() time.Time
}

// Pictures gets still pictures from devices, one at a time from each channel, for any
// number of callers. It does not know who may see them. It is safe for concurrent use.
type Pictures struct {
	cfg   PicturesConfig
	turns fetchTurns

	mu    sync.Mutex
	shots map[shotOf]*shot
	size  int // bytes of the pictures that are kept
}

type shotOf struct {
	device  string
	channel int
}

// shot is the last picture of a channel, or the one that is being fetched.
type shot struct {
	done    chan struct{} // closed when it was fetched, or failed
	cancel  context.CancelFunc
	waiting int // callers, while it is being fetched

	picture []byte
	err     error
	at      time.Time // when it was there; zero while it is being fetched

	camera Camera
	where  *url.URL // as ONVIF said
	said   time.Time
}

// NewPictures returns pictures.
func NewPictures(cfg PicturesConfig) *Pictures {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Pictures{cfg: cfg, shots: map[shotOf]*shot{}, turns: newFetchTurns()}
}

// Get returns a picture of a channel that is a second old at most, as JPEG. It must not be
// changed. A fetch that nobody waits for any more is cancelled.
func (p *Pictures) Get(ctx context.Context, device string, channel int) ([]byte, error) {
	of := shotOf{device, channel}
	s := p.join(of)
	defer p.leave(of, s)
	select {
	case <-s.done:
		return s.picture, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// join returns the picture to wait for, and begins to fetch it if needed.
func (p *Pictures) join(of shotOf) *shot {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.shots[of]
	if last != nil && (last.at.IsZero() || p.cfg.Now().Sub(last.at).Abs() < pictureFor) {
		last.waiting++
		return last
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &shot{done: make(chan struct{}), cancel: cancel, waiting: 1}
	if last != nil {
		s.camera, s.where, s.said = last.camera, last.where, last.said
	}
	p.forget()
	p.shots[of] = s
	go p.fetch(ctx, of, s)
	return s
}

// leave cancels a fetch that nobody waits for.
func (p *Pictures) leave(of shotOf, s *shot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.waiting--; s.waiting > 0 || !s.at.IsZero() {
		return
	}
	s.cancel()
	if p.shots[of] == s {
		delete(p.shots, of) // the next caller gets another one
	}
}

func (p *Pictures) fetch(ctx context.Context, of shotOf, s *shot) {
	defer s.cancel()
	picture, err := p.take(ctx, of, s)
	p.mu.Lock()
	s.picture, s.err, s.at = picture, err, p.cfg.Now()
	keep := p.size+len(picture) <= maxPictures
	if keep {
		p.size += len(picture)
	} else {
		p.drop(of, s)
	}
	p.mu.Unlock()
	close(s.done)
	if keep {
		time.AfterFunc(pictureFor, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.size -= len(picture)
			p.drop(of, s)
		})
	}
}

// drop forgets a picture, but not where it was. The caller holds mu.
func (p *Pictures) drop(of shotOf, s *shot) {
	if p.shots[of] == s {
		p.shots[of] = &shot{at: time.Unix(0, 0), camera: s.camera, where: s.where, said: s.said}
	}
}

// take fetches the picture. Only the fetch itself changes the camera and where it is.
func (p *Pictures) take(ctx context.Context, of shotOf, s *shot) ([]byte, error) {
	cam, owner, err := p.cfg.Camera(ctx, of.device)
	if err != nil {
		return nil, err
	}
	if !p.turns.take(ctx, owner) {
		return nil, fail(Timeout, "")
	}
	defer p.turns.give(owner)
	where := s.where
	if s.camera != cam || p.cfg.Now().Sub(s.said) >= whereFor {
		where = nil
	}
	picture, where, err := p.cfg.Fetch(ctx, cam, of.channel, where)
	if s.where != where {
		s.said = p.cfg.Now()
	}
	s.camera, s.where = cam, where
	return picture, err
}

// forget makes room for one more channel: any one whose picture is not being fetched. The
// caller holds mu.
func (p *Pictures) forget() {
	if len(p.shots) < maxShots {
		return
	}
	for of, s := range p.shots {
		if !s.at.IsZero() {
			delete(p.shots, of)
			return
		}
	}
}

// fetchTurns limits what is fetched at once, in all and by owner.
type fetchTurns struct {
	all chan struct{}

	mu sync.Mutex
	by map[string]*ownerTurns
}

type ownerTurns struct {
	places chan struct{}
	users  int // that hold a turn or wait for one
}

func newFetchTurns() fetchTurns {
	return fetchTurns{all: make(chan struct{}, maxFetches), by: map[string]*ownerTurns{}}
}

// take waits for a turn; false if the context ended first.
func (t *fetchTurns) take(ctx context.Context, owner string) bool {
	t.mu.Lock()
	of := t.by[owner]
	if of == nil {
		of = &ownerTurns{places: make(chan struct{}, maxFetchesOfOne)}
		t.by[owner] = of
	}
	of.users++
	t.mu.Unlock()
	select {
	case of.places <- struct{}{}:
	case <-ctx.Done():
		t.left(owner, of)
		return false
	}
	select {
	case t.all <- struct{}{}:
		return true
	case <-ctx.Done():
		<-of.places
		t.left(owner, of)
		return false
	}
}

func (t *fetchTurns) give(owner string) {
	<-t.all
	t.mu.Lock()
	of := t.by[owner]
	t.mu.Unlock()
	<-of.places
	t.left(owner, of)
}

func (t *fetchTurns) left(owner string, of *ownerTurns) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of.users--; of.users == 0 {
		delete(t.by, owner)
	}
}
