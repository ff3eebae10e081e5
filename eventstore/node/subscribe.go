package node

import (
	"math"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// liveBuffer is how many events a subscription may lag and still count as live. One that
// lags further has fallen behind and reports when it has caught up again.
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

// wait returns when the log has grown since changed was called; the error ends the
// subscription.
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

// subscribeAll sends the events after a position of $all, for as long as the client
// wants.
func (s *streamsService) subscribeAll(send *sender, o *streams.ReadReq_Options_AllOptions) error {
	var after uint64
	switch from := o.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		if after = from.Position.GetCommitPosition(); after == math.MaxUint64 { // another way to specify the end
			after = s.store.committed.Load()
		}
	case *streams.ReadReq_Options_AllOptions_Start:
		after = 0
	case *streams.ReadReq_Options_AllOptions_End:
		after = s.store.committed.Load()
	default:
		return invalid("a subscription begins somewhere")
	}
	if after > math.MaxInt64 {
		return invalid("%d is not a position", after)
	}
	if err := confirm(send); err != nil {
		return err
	}
	sub := &allSubscription{sender: send, after: after, behind: after < s.store.committed.Load()}
	if !sub.behind {
		if err := caughtUp(send); err != nil {
			return err
		}
	}
	var block []stored
	for {
		changed := s.store.changed()
		var err error
		if block, err = s.store.readAll(block[:0], sub.after+1, blockCount); err != nil {
			return refuse(send.call.Context(), err)
		}
		if err := sub.send(block); err != nil {
			return err
		}
		if s.store.committed.Load() > sub.after+liveBuffer {
			sub.behind = true
		}
		if len(block) > 0 {
			continue
		}
		if err := sub.live(); err != nil {
			return err
		}
		if err := s.wait(send, changed); err != nil {
			return err
		}
	}
}

// allSubscription is a subscription to $all.
type allSubscription struct {
	*sender
	after      uint64 // the position of the last event considered
	considered uint64 // events since the last checkpoint, or the start
	checkpoint uint64 // the last one sent
	behind     bool
}

func (a *allSubscription) send(block []stored) error {
	for _, e := range block {
		if _, err := a.chosen(e); err != nil {
			return err
		}
		a.after = e.position
		if a.filter == nil {
			continue
		}
		if a.considered++; a.considered < a.filter.interval {
			continue
		}
		if err := a.sendCheckpoint(); err != nil {
			return err
		}
	}
	return nil
}

// live notifies a client that it has caught up.
func (a *allSubscription) live() error {
	if !a.behind {
		return nil
	}
	a.behind = false
	if a.filter != nil && a.after > a.checkpoint {
		if err := a.sendCheckpoint(); err != nil {
			return err
		}
	}
	return caughtUp(a.sender)
}

func (a *allSubscription) sendCheckpoint() error {
	a.checkpoint, a.considered = a.after, 0
	return checkpoint(a.sender, a.after)
}

// subscribeStream sends the events after a revision of one stream, which need not exist
// yet.
func (s *streamsService) subscribeStream(send *sender, name string, o *streams.ReadReq_Options_StreamOptions) error {
	st, err := s.store.stream(name)
	if err != nil {
		return refuse(send.call.Context(), err)
	}
	if st.tombstoned { // the only stream without a confirmation
		return refuse(send.call.Context(), &streamDeleted{name})
	}
	sub := &streamSubscription{sender: send, name: name, behind: true}
	switch from := o.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		switch {
		case from.Revision < deletedStream:
			sub.next = from.Revision + 1
		case from.Revision != math.MaxUint64:
			return invalid("%d is not a revision", from.Revision)
		case st.exists: // another way to specify the end
			sub.next = st.last + 1
		}
	case *streams.ReadReq_Options_StreamOptions_Start:
		sub.next = 0
	case *streams.ReadReq_Options_StreamOptions_End:
		if st.exists {
			sub.next = st.last + 1
		}
	default:
		return invalid("a subscription begins somewhere")
	}
	if err := confirm(send); err != nil {
		return err
	}
	for {
		changed := s.store.changed()
		sent, err := sub.advance()
		if err != nil {
			return err
		}
		if sent {
			continue
		}
		if sub.behind {
			sub.behind = false
			if err := caughtUp(send); err != nil {
				return err
			}
		}
		if err := s.wait(send, changed); err != nil {
			return err
		}
	}
}

// streamSubscription is a subscription to one stream. While it lags it reads, and a read
// obeys the stream's metadata. While it is live it gets every event, even one that a
// later event has pushed out of $maxCount.
type streamSubscription struct {
	*sender
	name   string
	next   uint64 // the revision to send next
	behind bool
}

// advance sends available events, and reports whether there were any. A tombstone ends
// the subscription.
func (s *streamSubscription) advance() (sent bool, err error) {
	ctx := s.call.Context()
	st, err := s.store.stream(s.name)
	if err != nil {
		return false, refuse(ctx, err)
	}
	if st.tombstoned && (s.behind || st.last != deletedStream) {
		return false, refuse(ctx, &streamDeleted{s.name})
	}
	if !st.exists || s.next > st.last {
		return false, nil
	}
	if !st.tombstoned && st.last-s.next >= liveBuffer {
		s.behind = true
	}
	if !s.behind {
		st.meta = streamMeta{}
	}
	s.next = max(s.next, min(st.meta.first(st.last), st.last+1))
	if sent, err = s.sendBlocks(st); err == nil && st.tombstoned {
		err = refuse(ctx, &streamDeleted{s.name})
	}
	return sent, err
}

// sendBlocks sends the revisions from next on, up to the last.
func (s *streamSubscription) sendBlocks(st streamState) (sent bool, err error) {
	now := s.store.now()
	for s.next <= st.last {
		block, err := s.store.readStream(nil, st.number, s.next, st.last+1, limited(st.last+1-s.next), false)
		if err != nil {
			return sent, refuse(s.call.Context(), err)
		}
		if len(block) == 0 {
			break
		}
		for _, e := range block {
			s.next, sent = e.revision+1, true
			old, err := tooOld(st.meta, e.stored, now)
			if err != nil {
				return sent, refuse(s.call.Context(), err)
			}
			if old {
				continue
			}
			if err := s.event(e.stored); err != nil {
				return sent, err
			}
		}
	}
	return sent, nil
}
