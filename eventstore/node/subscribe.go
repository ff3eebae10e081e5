package node

import (
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// liveBuffer is how many events a subscription may be behind and still count as
// live. One that is further behind has fallen behind and says when it has caught
// up again.
const liveBuffer = 1024

func confirm(send *sender) error {
	return send.call.SendMsg(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{
		Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: uuid.NewString()}}})
}

func caughtUp(send *sender) error {
	return send.call.SendMsg(&streams.ReadResp{Content: &streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}})
}

func checkpoint(send *sender, position uint64) error {
	return send.call.SendMsg(&streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{
		Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: position, PreparePosition: position}}})
}

// wait returns when the log has grown since changed was asked for; the error
// ends the subscription.
func (s *streamsService) wait(send *sender, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-send.call.Context().Done():
		return status.FromContextError(send.call.Context().Err()).Err()
	case <-s.store.closing:
		return status.Error(codes.Unavailable, errClosed.Error())
	}
}

// subscribeAll sends what comes behind a position of $all, for as long as the
// client wants.
func (s *streamsService) subscribeAll(send *sender, o *streams.ReadReq_Options_AllOptions) error {
	var after uint64
	switch from := o.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		after = from.Position.GetCommitPosition()
	case *streams.ReadReq_Options_AllOptions_Start:
		after = 0
	case *streams.ReadReq_Options_AllOptions_End:
		after = s.store.committed.Load()
	default:
		return invalid("a subscription begins somewhere")
	}
	if after > math.MaxInt64 {
		return invalid("%d is no position", after)
	}
	if err := confirm(send); err != nil {
		return err
	}
	considered := uint64(0) // since the last checkpoint
	behind := true
	var block []stored
	for {
		changed := s.store.changed()
		var err error
		if block, err = s.store.readAll(block[:0], after+1, blockCount); err != nil {
			return refuse(send.call.Context(), err)
		}
		for _, e := range block {
			if _, err := send.chosen(e); err != nil {
				return err
			}
			after = e.position
			if send.filter == nil {
				continue
			}
			if considered++; considered >= send.filter.interval {
				considered = 0
				if err := checkpoint(send, after); err != nil {
					return err
				}
			}
		}
		if s.store.committed.Load() > after+liveBuffer {
			behind = true
		}
		if len(block) > 0 {
			continue
		}
		if behind {
			behind = false
			if send.filter != nil {
				considered = 0
				if err := checkpoint(send, after); err != nil {
					return err
				}
			}
			if err := caughtUp(send); err != nil {
				return err
			}
		}
		if err := s.wait(send, changed); err != nil {
			return err
		}
	}
}

// subscribeStream sends what comes behind a revision of one stream, which need
// not exist yet.
func (s *streamsService) subscribeStream(send *sender, name string, o *streams.ReadReq_Options_StreamOptions) error {
	ctx := send.call.Context()
	st, err := s.store.stream(name)
	if err != nil {
		return refuse(ctx, err)
	}
	if st.tombstoned {
		return refuse(ctx, &streamDeleted{name})
	}
	var next uint64 // the first revision to send
	switch from := o.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		if from.Revision >= deletedStream {
			return invalid("%d is no revision", from.Revision)
		}
		next = from.Revision + 1
	case *streams.ReadReq_Options_StreamOptions_Start:
		next = 0
	case *streams.ReadReq_Options_StreamOptions_End:
		if st.exists {
			next = st.last + 1
		}
	default:
		return invalid("a subscription begins somewhere")
	}
	if err := confirm(send); err != nil {
		return err
	}
	behind := true
	for {
		changed := s.store.changed()
		n, err := s.sendStream(send, name, &next)
		if err != nil {
			return err
		}
		if n > liveBuffer {
			behind = true
		}
		if n > 0 {
			continue
		}
		if behind {
			behind = false
			if err := caughtUp(send); err != nil {
				return err
			}
		}
		if err := s.wait(send, changed); err != nil {
			return err
		}
	}
}

// sendStream sends what a stream has from revision next on, and answers how
// much that was. A tombstone ends the subscription.
func (s *streamsService) sendStream(send *sender, name string, next *uint64) (int, error) {
	ctx := send.call.Context()
	st, err := s.store.stream(name)
	if err != nil {
		return 0, refuse(ctx, err)
	}
	if st.tombstoned {
		return 0, refuse(ctx, &streamDeleted{name})
	}
	if !st.exists || st.meta.deleted() || *next > st.last {
		return 0, nil
	}
	*next = max(*next, st.meta.first(st.last))
	now, n := s.store.now(), 0
	for *next <= st.last {
		block, err := s.store.readStream(nil, st.number, *next, st.last+1, limited(st.last+1-*next), false)
		if err != nil {
			return n, refuse(ctx, err)
		}
		if len(block) == 0 {
			return n, nil
		}
		for _, e := range block {
			*next = e.revision + 1
			n++
			old, err := tooOld(st.meta, e.stored, now)
			if err != nil {
				return n, refuse(ctx, err)
			}
			if old {
				continue
			}
			if err := send.event(e.stored); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}
