package eventstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"latchkey/eventstore"
)

// A node whose disk is nearly full refuses at once, in its own words, and gets
// the appends again that take something away.
func TestNearlyFull(t *testing.T) {
	tries := 0
	target := startScripted(t, &scriptedNode{append: func(s streams.Streams_AppendServer) error {
		tries++
		drain(s)
		md, _ := metadata.FromIncomingContext(s.Context())
		if got := md.Get("latchkey-reserve"); len(got) != 1 || got[0] != "1" {
			return status.Error(codes.ResourceExhausted, "the disk of the log is nearly full: 12 MiB are free")
		}
		return s.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_Success_{Success: &streams.AppendResp_Success{
			CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: 4},
			PositionOption:        &streams.AppendResp_Success_Position{Position: &streams.AppendResp_Position{CommitPosition: 9, PreparePosition: 9}},
		}}})
	}})
	c := open(t, target)
	began := time.Now()
	_, err := c.Append(t.Context(), "s", eventstore.Any(), newEvent("a"))
	if !errors.Is(err, eventstore.ErrFull) || errors.Is(err, eventstore.ErrUnavailable) || !strings.Contains(err.Error(), "12 MiB are free") {
		t.Errorf("Append = %v", err)
	}
	if took := time.Since(began); tries != 1 || took > 30*time.Second { // the calls' time-out is 60 s
		t.Errorf("it was tried %d times in %v", tries, took)
	}
	done, err := c.Append(eventstore.WithReserve(t.Context()), "s", eventstore.Any(), newEvent("a"))
	if err != nil || done.Position != 9 || done.Revision != 4 {
		t.Errorf("Append with the reserve = %+v, %v", done, err)
	}
}

// ResourceExhausted for another reason passes, and an answer that comes too early
// is lost by the library: the append is tried again.
func TestOtherExhaustionIsRepeated(t *testing.T) {
	tries := 0
	target := startScripted(t, &scriptedNode{append: func(s streams.Streams_AppendServer) error {
		if tries++; tries > 1 { // the client may see an answer to the first one as EOF
			drain(s)
		}
		if tries < 3 {
			return status.Error(codes.ResourceExhausted, "too many requests")
		}
		return status.Error(codes.InvalidArgument, "enough")
	}})
	c := open(t, target)
	_, err := c.Append(context.Background(), "s", eventstore.Any(), newEvent("a"))
	if tries != 3 || err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("tried %d times: %v", tries, err)
	}
}
