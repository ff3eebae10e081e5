package node

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
)

// Read serves a read of some events, or a subscription.
func (s *streamsService) Read(req *streams.ReadReq, call streams.Streams_ReadServer) error {
	o := req.GetOptions()
	if o.GetUuidOption() == nil || o.GetFilterOption() == nil || o.GetCountOption() == nil {
		return invalid("a read says how it wants ids, how many events, and whether it has a filter")
	}
	f, err := newFilter(o.GetFilter())
	if err != nil {
		return err
	}
	send := &sender{call: call, store: s.store, resolve: o.GetResolveLinks(), filter: f}
	if _, ok := o.GetUuidOption().GetContent().(*streams.ReadReq_Options_UUIDOption_String_); ok {
		send.textIDs = true
	}
	backwards := o.GetReadDirection() == streams.ReadReq_Options_Backwards
	_, subscribe := o.GetCountOption().(*streams.ReadReq_Options_Subscription)
	if subscribe && backwards {
		return invalid("a subscription reads forwards")
	}
	switch from := o.GetStreamOption().(type) {
	case *streams.ReadReq_Options_All:
		if subscribe {
			return s.subscribeAll(send, from.All)
		}
		return s.readAll(send, from.All, o.GetCount(), backwards)
	case *streams.ReadReq_Options_Stream:
		name, err := streamName(from.Stream.GetStreamIdentifier())
		if err != nil {
			return err
		}
		if f != nil {
			return invalid("a filter is for $all")
		}
		if subscribe {
			return s.subscribeStream(send, name, from.Stream)
		}
		return s.readStream(send, name, from.Stream, o.GetCount(), backwards)
	}
	return invalid("a read names a stream or $all")
}

// readAll sends at most count events of $all. The position is included forwards, but not
// backwards.
func (s *streamsService) readAll(send *sender, o *streams.ReadReq_Options_AllOptions, count uint64, backwards bool) error {
	var at uint64
	switch from := o.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		at = from.Position.GetCommitPosition()
	case *streams.ReadReq_Options_AllOptions_Start:
		at = 0
	case *streams.ReadReq_Options_AllOptions_End:
		at = math.MaxUint64
	default:
		return invalid("a read of $all begins somewhere")
	}
	if at > math.MaxInt64 {
		at = math.MaxInt64
	}
	for count > 0 {
		var block []stored
		var err error
		if backwards {
			block, err = s.store.readAllBackwards(nil, at, limitedTo(send, count))
		} else {
			block, err = s.store.readAll(nil, at, limitedTo(send, count))
		}
		if err != nil {
			return refuse(send.call.Context(), err)
		}
		if len(block) == 0 {
			return nil
		}
		for _, e := range block {
			sent, err := send.chosen(e)
			if err != nil {
				return err
			}
			if sent {
				if count--; count == 0 {
					return nil
				}
			}
		}
		if at = block[len(block)-1].position; !backwards {
			at++
		}
	}
	return nil
}

// limitedTo is limited, unless a filter requires reading more.
func limitedTo(send *sender, count uint64) int {
	if send.filter != nil {
		return blockCount
	}
	return limited(count)
}

// readStream sends at most count events of a stream, its first included in both
// directions.
func (s *streamsService) readStream(send *sender, name string, o *streams.ReadReq_Options_StreamOptions, count uint64, backwards bool) error {
	ctx := send.call.Context()
	st, err := s.store.stream(name)
	if err != nil {
		return refuse(ctx, err)
	}
	if st.tombstoned {
		return refuse(ctx, &streamDeleted{name})
	}
	if !st.exists || st.meta.deleted() {
		return send.call.SendMsg(&streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{StreamNotFound: &streams.ReadResp_StreamNotFound{
			StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(name)}}}})
	}
	var at uint64
	switch from := o.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		at = from.Revision
	case *streams.ReadReq_Options_StreamOptions_Start:
		at = 0
	case *streams.ReadReq_Options_StreamOptions_End:
		at = math.MaxUint64
	default:
		return invalid("a read of a stream begins somewhere")
	}
	// The events of [low, high) are left to send.
	low, high := st.meta.first(st.last), st.last+1
	if backwards {
		high = min(high, max(at, at+1)) // at+1, unless that overflows
	} else {
		low = max(low, at)
	}
	now := s.store.now()
	for count > 0 {
		block, err := s.store.readStream(nil, st.number, low, high, limited(count), backwards)
		if err != nil {
			return refuse(ctx, err)
		}
		if len(block) == 0 {
			return nil
		}
		for _, e := range block {
			if old, err := tooOld(st.meta, e.stored, now); err != nil {
				return refuse(ctx, err)
			} else if old {
				continue
			}
			if err := send.event(e.stored); err != nil {
				return err
			}
			if count--; count == 0 {
				return nil
			}
		}
		if backwards {
			high = block[len(block)-1].revision
		} else {
			low = block[len(block)-1].revision + 1
		}
	}
	return nil
}

// sender sends events over one call. It holds no resources of the store while it sends: a
// slow client delays only itself.
type sender struct {
	call    streams.Streams_ReadServer
	store   *store
	filter  *filter
	resolve bool // links
	textIDs bool
}

// chosen sends an event of $all if the filter selects it.
func (s *sender) chosen(e stored) (bool, error) {
	if s.filter != nil {
		parsed, err := parseRecord(e.record)
		if err != nil {
			return false, refuse(s.call.Context(), fmt.Errorf("position %d: %w", e.position, err))
		}
		if !s.filter.match(&parsed) {
			return false, nil
		}
	}
	return true, s.event(e)
}

// event sends one event, resolved if it is a link and that is wanted.
func (s *sender) event(e stored) error {
	record, link := e.record, []byte(nil)
	if s.resolve {
		target, isLink, err := s.store.resolve(e.record)
		if err != nil {
			return refuse(s.call.Context(), err)
		}
		if isLink {
			record, link = target, e.record
		}
	}
	if s.textIDs {
		return s.sendText(record, link, e.position)
	}
	return s.call.SendMsg(eventFrame(record, link, e.position))
}

// sendText is for clients that want ids as text; ours does not.
func (s *sender) sendText(record, link []byte, position uint64) error {
	out := &streams.ReadResp_ReadEvent{Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: position}}
	for _, part := range []struct {
		raw  []byte
		into **streams.ReadResp_ReadEvent_RecordedEvent
	}{{record, &out.Event}, {link, &out.Link}} {
		if part.raw == nil {
			continue
		}
		m := &streams.ReadResp_ReadEvent_RecordedEvent{}
		if err := proto.Unmarshal(part.raw, m); err != nil {
			return refuse(s.call.Context(), errRecord)
		}
		id, err := eventID(m.GetId())
		if err != nil {
			return refuse(s.call.Context(), errRecord)
		}
		m.Id = &shared.UUID{Value: &shared.UUID_String_{String_: uuid.UUID(id).String()}}
		*part.into = m
	}
	return s.call.SendMsg(&streams.ReadResp{Content: &streams.ReadResp_Event{Event: out}})
}

// resolve follows a link: its data is a revision, an @ and a stream. A dangling link has
// no target. If the data does not begin with a number, the event is not a link, as in the
// real server.
func (s *store) resolve(record []byte) (target []byte, isLink bool, err error) {
	e, err := parseRecord(record)
	if err != nil || string(e.kind) != typeLink {
		return nil, false, err
	}
	number, name, ok := bytes.Cut(e.data, []byte("@"))
	revision, bad := strconv.ParseInt(string(number), 10, 64)
	if bad != nil {
		return nil, false, nil
	}
	if !ok || len(name) == 0 || revision < -1 {
		return nil, true, nil
	}
	st, err := s.stream(string(name))
	if err != nil || !st.exists || st.tombstoned || st.meta.deleted() {
		return nil, true, err
	}
	at := uint64(revision)
	if revision == -1 { // the last
		at = st.last
	}
	if at < st.meta.first(st.last) || at > st.last {
		return nil, true, nil
	}
	t, err := s.recordAt(st.number, at)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, true, nil
	}
	if err != nil {
		return nil, true, fmt.Errorf("following a link: %w", err)
	}
	old, err := tooOld(st.meta, t, s.now())
	if err != nil || old {
		return nil, true, err
	}
	return t.record, true, nil
}
