package engine

import "context"

// mend rebuilds read models that are missing something that a rebuild would give them.
// The old rows are readable meanwhile. If it does not help, it is not tried again before
// the generation of the read model has risen. Rounds are sequential, so mended needs no
// lock.
func (r *Runner) mend(ctx context.Context) error {
	for {
		select {
		case <-r.lacking:
		case <-ctx.Done():
			return nil
		}
		for _, p := range r.cfg.Store.models {
			if p.Lacking != nil {
				r.mendOne(ctx, p)
			}
		}
	}
}

func (r *Runner) mendOne(ctx context.Context, p *Projection) {
	s, logger := r.cfg.Store, r.cfg.Logger
	c, err := s.checkpoint(ctx, p.Name)
	if err != nil || !p.Lacking(c.counts()) || c.Generation == r.mended[p.Name] {
		return
	}
	logger.Warn("events produced no rows; rebuilding the read model", "projection", p.Name, "events", c.Lacks)
	err = s.Rebuild(ctx, p.Name, r.cfg.Client, nil)
	if err != nil && ctx.Err() == nil {
		logger.Warn("the read model could not be rebuilt", "projection", p.Name, "error", err)
	}
	r.mended[p.Name] = c.Generation
	if now, err := s.checkpoint(ctx, p.Name); err == nil {
		r.mended[p.Name] = now.Generation
	}
}
