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
	// maxPictures limits the pictures that are kept, in bytes.
	maxPictures = 32 << 20
	// whereFor is how long it is remembered where ONVIF said that the picture is, and
	// maxWhere of how many channels.
	whereFor = 10 * time.Minute
	maxWhere = 4096
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
	cfg    PicturesConfig
	turns  fetchTurns
	shared shared[pictureOf, []byte]

	mu    sync.Mutex
	where map[pictureOf]place
}

type pictureOf struct {
	device  string
	channel int
}

// place is where ONVIF said that the picture of a channel is.
type place struct {
	of Camera
	at *url.URL
	as time.Time // when it said so
}

// NewPictures returns pictures.
func NewPictures(cfg PicturesConfig) *Pictures {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Pictures{cfg: cfg, turns: newFetchTurns(), where: map[pictureOf]place{}}
	p.shared = shared[pictureOf, []byte]{
		fetch: p.fetch, size: func(picture []byte) int { return len(picture) }, keep: pictureFor, most: maxPictures, now: cfg.Now,
	}
	return p
}

// Get returns a picture of a channel that is a second old at most, as JPEG. It must not be
// changed.
func (p *Pictures) Get(ctx context.Context, device string, channel int) ([]byte, error) {
	return p.shared.get(ctx, pictureOf{device, channel})
}

func (p *Pictures) fetch(ctx context.Context, of pictureOf) ([]byte, error) {
	cam, owner, err := p.cfg.Camera(ctx, of.device)
	if err != nil {
		return nil, err
	}
	if !p.turns.take(ctx, owner) {
		return nil, fail(Timeout, "")
	}
	defer p.turns.give(owner)
	picture, at, err := p.cfg.Fetch(ctx, cam, of.channel, p.known(of, cam))
	p.learn(of, cam, at)
	return picture, err
}

// known returns where the picture was; nil if that is not known.
func (p *Pictures) known(of pictureOf, cam Camera) *url.URL {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.where[of]; w.of == cam && p.cfg.Now().Sub(w.as).Abs() < whereFor {
		return w.at
	}
	return nil
}

// learn remembers where the picture is; nil: nowhere.
func (p *Pictures) learn(of pictureOf, cam Camera, at *url.URL) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at == nil {
		delete(p.where, of)
		return
	}
	if p.where[of].at == at {
		return
	}
	for other := range p.where { // any one makes room
		if len(p.where) < maxWhere {
			break
		}
		delete(p.where, other)
	}
	p.where[of] = place{cam, at, p.cfg.Now()}
}
