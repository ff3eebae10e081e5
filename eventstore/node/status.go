package node

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// Status is the state of the log, for operators.
type Status struct {
	Writable  bool   // ordinary writes are accepted
	Reserved  bool   // revocations are accepted
	Reason    string // why not
	DiskFree  uint64 // bytes; without the reserve
	DiskLeast uint64 // bytes that ordinary writes leave free; 0: unknown
	Position  uint64 // of the last event
}

// ErrNoStatus is returned by ReadStatus for a server that is not an embedded
// node.
var ErrNoStatus = errors.New("the server does not report the status of an embedded node")

// Status returns the state of the log.
func (n *Node) Status() Status { return n.store.status() }

func (s *store) status() Status {
	st := Status{Position: s.committed.Load()}
	s.queueMu.Lock()
	failed, closed := s.failed, s.closed
	s.queueMu.Unlock()
	if s.disk != nil {
		st.DiskFree, st.DiskLeast, _ = s.disk.reserve.free()
	}
	ordinary, reserved := failed, failed
	switch {
	case closed:
		ordinary, reserved = errClosed, errClosed
	case failed == nil:
		ordinary, reserved = s.room()
	}
	st.Writable, st.Reserved = ordinary == nil, reserved == nil
	if ordinary != nil {
		st.Reason = oneLine(ordinary.Error())
	}
	if ordinary == nil && s.damaged.any() {
		st.Reason = "a part of the log is damaged; the node's own log names it"
	}
	return st
}

// The service is next to those of the protocol, under our own name. Its messages are
// well-known types, so that no code need be generated.
const (
	statusService = "latchkey.node.v1.Node"
	statusMethod  = "Status"
)

// ReadStatus requests the status of the node at the other end of a connection.
// ErrNoStatus: it is another kind of server.
func ReadStatus(ctx context.Context, conn grpc.ClientConnInterface) (Status, error) {
	var answer structpb.Struct
	err := conn.Invoke(ctx, "/"+statusService+"/"+statusMethod, &emptypb.Empty{}, &answer)
	if status.Code(err) == codes.Unimplemented {
		return Status{}, ErrNoStatus
	}
	if err != nil {
		return Status{}, fmt.Errorf("requesting the node's status: %w", err)
	}
	f := answer.GetFields()
	return Status{
		Writable: f["writable"].GetBoolValue(), Reserved: f["reserved"].GetBoolValue(), Reason: f["reason"].GetStringValue(),
		DiskFree: uint64(f["disk_free"].GetNumberValue()), DiskLeast: uint64(f["disk_least"].GetNumberValue()),
		Position: uint64(f["position"].GetNumberValue()),
	}, nil
}

// encode returns the response of the service. Its numbers are exact up to 2^53.
func (st Status) encode() *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"writable": structpb.NewBoolValue(st.Writable), "reserved": structpb.NewBoolValue(st.Reserved), "reason": structpb.NewStringValue(st.Reason),
		"disk_free": structpb.NewNumberValue(float64(st.DiskFree)), "disk_least": structpb.NewNumberValue(float64(st.DiskLeast)),
		"position": structpb.NewNumberValue(float64(st.Position)),
	}}
}

// statusServer is the interface for registering the service.
type statusServer interface{ Status() Status }

var statusDesc = grpc.ServiceDesc{
	ServiceName: statusService,
	HandlerType: (*statusServer)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: statusMethod, Handler: handleStatus}},
}

func handleStatus(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	var req emptypb.Empty
	if err := decode(&req); err != nil {
		return nil, err
	}
	handle := func(context.Context, any) (any, error) { return srv.(statusServer).Status().encode(), nil }
	if intercept == nil {
		return handle(ctx, &req)
	}
	return intercept(ctx, &req, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/" + statusService + "/" + statusMethod}, handle)
}
