package device

import (
	"context"
	"time"
)

const (
	// searchFor is how long the result of a search is given to everybody who asks the
	// same, such as for the next page of it.
	searchFor = 5 * time.Second
	// maxKept limits the results that are kept, in bytes, and recordingSize is about what
	// one recording takes.
	maxKept       = 8 << 20
	recordingSize = 64
)

// SearchesConfig configures Searches. All but Now are required.
type SearchesConfig struct {
	// Search asks a device: see Client.Recordings.
	Search func(ctx context.Context, cam Camera, channel int, from, to time.Time) (Recorded, error)
	// Camera returns how a device is reached, and a name for its owner.
	Camera func(ctx context.Context, device string) (cam Camera, owner string, err error)
	Now    func() time.Time
}

// Searches asks devices what they have recorded, once for any number of callers who ask
// the same. It does not know who may see it. It is safe for concurrent use.
type Searches struct {
	cfg    SearchesConfig
	turns  fetchTurns
	shared shared[search, Recorded]
}

type search struct {
	device   string
	channel  int
	from, to int64 // seconds since 1970
}

// NewSearches returns searches.
func NewSearches(cfg SearchesConfig) *Searches {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Searches{cfg: cfg, turns: newFetchTurns()}
	s.shared = shared[search, Recorded]{
		fetch: s.fetch, size: func(r Recorded) int { return recordingSize * (1 + len(r.List)) }, keep: searchFor, most: maxKept, now: cfg.Now,
	}
	return s
}

// Get returns what a device has recorded of a channel in a time, to the second. It must not
// be changed.
func (s *Searches) Get(ctx context.Context, device string, channel int, from, to time.Time) (Recorded, error) {
	return s.shared.get(ctx, search{device, channel, from.Unix(), to.Add(time.Second - 1).Unix()})
}

func (s *Searches) fetch(ctx context.Context, of search) (Recorded, error) {
	cam, owner, err := s.cfg.Camera(ctx, of.device)
	if err != nil {
		return Recorded{}, err
	}
	if !s.turns.take(ctx, owner) {
		return Recorded{}, fail(Timeout, "")
	}
	defer s.turns.give(owner)
	return s.cfg.Search(ctx, cam, of.channel, time.Unix(of.from, 0).UTC(), time.Unix(of.to, 0).UTC())
}
