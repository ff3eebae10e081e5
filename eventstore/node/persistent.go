package node

import (
	"context"
	"errors"
	"io"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// groups answers for persistent subscriptions. The node makes none, so it has
// none: whoever asks for a group is told what the real server tells of a missing
// one. What it does not implement are Create and RestartSubsystem.
type groups struct {
	persistent.UnimplementedPersistentSubscriptionsServer
}

// source is how most requests name what a group reads.
type source interface {
	GetStreamIdentifier() *shared.StreamIdentifier
	GetAll() *shared.Empty
	GetGroupName() string
}

func missingGroup(ctx context.Context, o source) error {
	stream := string(o.GetStreamIdentifier().GetStreamName())
	if o.GetAll() != nil {
		stream = "$all"
	}
	return noGroup(ctx, stream, o.GetGroupName())
}

func noGroup(ctx context.Context, stream, group string) error {
	trailer(ctx, "exception", "persistent-subscription-does-not-exist", "stream-name", headerText(stream), "group-name", headerText(group))
	return status.Errorf(codes.NotFound, "Subscription group %s on stream %s does not exist.", group, stream)
}

func (groups) Create(ctx context.Context, _ *persistent.CreateReq) (*persistent.CreateResp, error) {
	method, _ := grpc.Method(ctx)
	return nil, notImplemented(method)
}

func (groups) RestartSubsystem(ctx context.Context, _ *shared.Empty) (*shared.Empty, error) {
	method, _ := grpc.Method(ctx)
	return nil, notImplemented(method)
}

func (groups) Update(ctx context.Context, req *persistent.UpdateReq) (*persistent.UpdateResp, error) {
	o := req.GetOptions()
	stream := string(o.GetStream().GetStreamIdentifier().GetStreamName())
	if o.GetAll() != nil {
		stream = "$all"
	}
	return nil, noGroup(ctx, stream, o.GetGroupName())
}

func (groups) Delete(ctx context.Context, req *persistent.DeleteReq) (*persistent.DeleteResp, error) {
	return nil, missingGroup(ctx, req.GetOptions())
}

func (groups) GetInfo(ctx context.Context, req *persistent.GetInfoReq) (*persistent.GetInfoResp, error) {
	return nil, missingGroup(ctx, req.GetOptions())
}

func (groups) ReplayParked(ctx context.Context, req *persistent.ReplayParkedReq) (*persistent.ReplayParkedResp, error) {
	return nil, missingGroup(ctx, req.GetOptions())
}

// List of everything is empty; of one stream it is an error, as on the real server.
func (groups) List(ctx context.Context, req *persistent.ListReq) (*persistent.ListResp, error) {
	o := req.GetOptions().GetListForStream()
	switch {
	case o == nil:
		return &persistent.ListResp{}, nil
	case o.GetAll() != nil:
		return nil, noGroup(ctx, "$all", "")
	}
	return nil, noGroup(ctx, string(o.GetStream().GetStreamName()), "")
}

func (groups) Read(call persistent.PersistentSubscriptions_ReadServer) error {
	first, err := call.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if first.GetOptions() == nil {
		return invalid("a persistent subscription begins with its options")
	}
	return missingGroup(call.Context(), first.GetOptions())
}
