package node

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
)

// streamsService is the Streams service.
type streamsService struct {
	streams.UnimplementedStreamsServer
	store *store
}

// The limits on one append, in bytes. The real server's limit only counts the data of the
// events, so the metadata and the types need one of our own: an event and a link to it
// must fit into one message together.
const (
	maxAppend = 1 << 20 // of data
	maxBeside = 7 << 20 // of custom metadata and types
)

// maxName limits the name of a stream, in bytes.
const maxName = 8 << 10

// Append reads all events even if it refuses them: the client takes a response before it
// has sent all for a broken connection.
func (s *streamsService) Append(call streams.Streams_AppendServer) error {
	ctx := call.Context()
	r, err := receiveAppend(ctx, call)
	if err != nil {
		if drained := drain(call); drained != nil {
			return drained
		}
		return err
	}
	o := s.store.write(r)
	var wrong *wrongRevision
	if errors.As(o.err, &wrong) {
		return call.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: wrongVersion(wrong)}})
	}
	if o.err != nil {
		return refuse(ctx, o.err)
	}
	return call.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_Success_{Success: success(o)}})
}

// ReserveHeader is the metadata of a call, with the value 1, with which a write may use
// the disk's reserve, because it revokes something.
const ReserveHeader = "latchkey-reserve"

func mayUseReserve(ctx context.Context) bool {
	return slices.Contains(metadata.ValueFromIncomingContext(ctx, ReserveHeader), "1")
}

func drain(call streams.Streams_AppendServer) error {
	for {
		if _, err := call.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func receiveAppend(ctx context.Context, call streams.Streams_AppendServer) (*request, error) {
	first, err := call.Recv()
	if errors.Is(err, io.EOF) {
		return nil, invalid("an append begins with its options")
	}
	if err != nil {
		return nil, err
	}
	options := first.GetOptions()
	if options == nil {
		return nil, invalid("an append begins with its options")
	}
	r := &request{action: actAppend, reserved: mayUseReserve(ctx)}
	if r.stream, err = streamName(options.GetStreamIdentifier()); err != nil {
		return nil, err
	}
	if r.expected, err = expected(options.GetExpectedStreamRevision()); err != nil {
		return nil, err
	}
	size, beside := 0, 0
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
		p, err := proposal(ctx, m.GetProposedMessage())
		if err != nil {
			return nil, err
		}
		size += len(p.data)
		beside += len(p.custom) + len(p.kind)
		if size > maxAppend || beside > maxBeside {
			trailer(ctx, "exception", "maximum-append-size-exceeded", "maximum-append-size", strconv.Itoa(maxAppend))
			return nil, invalid("Maximum Append Size of %d Exceeded.", maxAppend)
		}
		r.events = append(r.events, p)
	}
}

func proposal(ctx context.Context, m *streams.AppendReq_ProposedMessage) (proposed, error) {
	if m == nil {
		return proposed{}, invalid("only events follow the options of an append")
	}
	p := proposed{kind: m.GetMetadata()["type"], contentType: contentBinary, custom: m.GetCustomMetadata(), data: m.GetData()}
	if m.GetMetadata()["content-type"] == contentJSON { // the server has no third type
		p.contentType = contentJSON
	}
	for _, key := range []string{"type", "content-type"} {
		if value, ok := m.GetMetadata()[key]; !ok || key == "type" && value == "" {
			trailer(ctx, "exception", "missing-required-metadata-property", "required-metadata-properties", "type,content-type")
			return p, invalid("Required Metadata Property '%s' is missing", key)
		}
	}
	var err error
	p.id, err = eventID(m.GetId())
	return p, err
}

func eventID(id *shared.UUID) (out [16]byte, err error) {
	switch v := id.GetValue().(type) {
	case *shared.UUID_Structured_:
		putUint64(out[:8], uint64(v.Structured.GetMostSignificantBits()))
		putUint64(out[8:], uint64(v.Structured.GetLeastSignificantBits()))
	case *shared.UUID_String_:
		parsed, err := uuid.Parse(v.String_)
		if err != nil {
			return out, invalid("an event's id is not a UUID")
		}
		out = parsed
	default:
		return out, invalid("an event has no id")
	}
	if out == [16]byte{} {
		return out, invalid("an event's id is empty")
	}
	return out, nil
}

func streamName(id *shared.StreamIdentifier) (string, error) {
	name := string(id.GetStreamName())
	switch {
	case name == "":
		return "", invalid("a stream needs a name")
	case len(name) > maxName:
		return "", invalid("a stream's name has at most %d bytes", maxName)
	case name == metadataPrefix || name == "$all":
		return "", invalid("'%s' is not a valid stream name", name)
	}
	return name, nil
}

// expected reads the oneof of an append, a delete and a tombstone, which differ only in
// their types.
func expected(option any) (expectation, error) {
	switch o := option.(type) {
	case *streams.AppendReq_Options_Any, *streams.DeleteReq_Options_Any, *streams.TombstoneReq_Options_Any:
		return expectAny, nil
	case *streams.AppendReq_Options_NoStream, *streams.DeleteReq_Options_NoStream, *streams.TombstoneReq_Options_NoStream:
		return expectNoStream, nil
	case *streams.AppendReq_Options_StreamExists, *streams.DeleteReq_Options_StreamExists, *streams.TombstoneReq_Options_StreamExists:
		return expectExists, nil
	case *streams.AppendReq_Options_Revision:
		return exactly(o.Revision)
	case *streams.DeleteReq_Options_Revision:
		return exactly(o.Revision)
	case *streams.TombstoneReq_Options_Revision:
		return exactly(o.Revision)
	}
	return 0, invalid("the expected revision is missing")
}

func exactly(revision uint64) (expectation, error) {
	if revision > deletedStream {
		return 0, invalid("%d is not a revision", revision)
	}
	return expectation(revision), nil
}

func success(o outcome) *streams.AppendResp_Success {
	ok := &streams.AppendResp_Success{
		CurrentRevisionOption: &streams.AppendResp_Success_NoStream{NoStream: &shared.Empty{}},
		PositionOption:        &streams.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}},
	}
	if o.revision >= 0 {
		ok.CurrentRevisionOption = &streams.AppendResp_Success_CurrentRevision{CurrentRevision: uint64(o.revision)}
	}
	if o.position > 0 {
		ok.PositionOption = &streams.AppendResp_Success_Position{Position: &streams.AppendResp_Position{CommitPosition: o.position, PreparePosition: o.position}}
	}
	return ok
}

// wrongVersion sets the fields of today's clients and those of version 20.6.
func wrongVersion(e *wrongRevision) *streams.AppendResp_WrongExpectedVersion {
	w := &streams.AppendResp_WrongExpectedVersion{
		CurrentRevisionOption:        &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &shared.Empty{}},
		CurrentRevisionOption_20_6_0: &streams.AppendResp_WrongExpectedVersion_NoStream_20_6_0{NoStream_20_6_0: &shared.Empty{}},
	}
	if e.actual >= 0 {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: uint64(e.actual)}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{CurrentRevision_20_6_0: uint64(e.actual)}
	}
	switch e.expected {
	case expectAny:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: &shared.Empty{}}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: &shared.Empty{}}
	case expectExists:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &shared.Empty{}}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{StreamExists_20_6_0: &shared.Empty{}}
	case expectNoStream:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &shared.Empty{}}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: math.MaxUint64}
	default:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: uint64(e.expected)}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: uint64(e.expected)}
	}
	return w
}

// Delete makes a stream unreadable; an append may bring it back.
func (s *streamsService) Delete(ctx context.Context, req *streams.DeleteReq) (*streams.DeleteResp, error) {
	pos, err := s.end(ctx, actDelete, req.GetOptions().GetStreamIdentifier(), req.GetOptions().GetExpectedStreamRevision())
	if err != nil {
		return nil, err
	}
	return &streams.DeleteResp{PositionOption: &streams.DeleteResp_Position_{Position: &streams.DeleteResp_Position{CommitPosition: pos, PreparePosition: pos}}}, nil
}

// Tombstone ends a stream forever.
func (s *streamsService) Tombstone(ctx context.Context, req *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	pos, err := s.end(ctx, actTombstone, req.GetOptions().GetStreamIdentifier(), req.GetOptions().GetExpectedStreamRevision())
	if err != nil {
		return nil, err
	}
	return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_Position_{Position: &streams.TombstoneResp_Position{CommitPosition: pos, PreparePosition: pos}}}, nil
}

func (s *streamsService) end(ctx context.Context, a action, id *shared.StreamIdentifier, option any) (uint64, error) {
	name, err := streamName(id)
	if err != nil {
		return 0, err
	}
	revision, err := expected(option)
	if err != nil {
		return 0, err
	}
	o := s.store.write(&request{stream: name, expected: revision, action: a, reserved: mayUseReserve(ctx)})
	if o.err != nil {
		return 0, refuse(ctx, o.err)
	}
	return o.position, nil
}

// BatchAppend is never used by the client.
func (*streamsService) BatchAppend(call streams.Streams_BatchAppendServer) error {
	return unimplemented(nil, call)
}
