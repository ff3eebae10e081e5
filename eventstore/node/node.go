package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Config configures a node.
type Config struct {
	// Dir is the folder of the log; one process at a time may have it.
	Dir string
	// Logger receives messages for operators; it may be nil.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// FS is the file system; nil is that of the machine. Tests use others.
	FS vfs.FS
	// ReadOnly opens an existing log without accepting writes. Nothing is changed in its
	// folder, which may be on a read-only disk.
	ReadOnly bool
	// AcceptLoss opens a log from which acknowledged events are missing, as far as it is
	// complete. The loss is logged, and write-ahead logs that it no longer uses are kept
	// under names that end in ".lost".
	AcceptLoss bool
	// NoSync acknowledges appends before they are synced. It is for benchmarks only: a
	// crash loses acknowledged events.
	NoSync bool
}

// withDefaults sets defaults.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.Dir == "" {
		return cfg, errors.New("opening a node: a folder is required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	return cfg, nil
}

// Node is a running node.
type Node struct {
	store  *store
	server *grpc.Server
	logger *slog.Logger
}

// Open opens the log, or creates one in an empty folder. It refuses a folder that it does
// not understand, and leaves it unchanged. Errors: ErrLocked when another process has the
// folder; ErrDamaged when a file is missing or unreadable; a *LossError, an ErrLoss, when
// acknowledged events are missing.
func Open(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := openStore(cfg)
	if err != nil {
		return nil, err
	}
	n := &Node{store: s, logger: cfg.Logger}
	n.server = grpc.NewServer(
		grpc.ForceServerCodecV2(frameCodec{}),
		// The client pings every 10 s, also without streams; grpc's default
		// would end such a connection.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMin, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20),
		grpc.WriteBufferSize(128<<10), grpc.ReadBufferSize(128<<10),
		grpc.MaxConcurrentStreams(10_000), grpc.MaxHeaderListSize(maxHeaders),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.WaitForHandlers(true), // Close must not close the log under them
		grpc.UnknownServiceHandler(unimplemented),
		grpc.ChainStreamInterceptor(n.recoverStream),
		grpc.ChainUnaryInterceptor(n.recoverUnary),
	)
	streams.RegisterStreamsServer(n.server, &streamsService{store: s})
	serverfeatures.RegisterServerFeaturesServer(n.server, features{})
	n.server.RegisterService(&statusDesc, n)
	return n, nil
}

const (
	maxMessage = 17 << 20 // the client's maximum, in bytes
	maxHeaders = 64 << 10 // bytes

	streamWorkers = 64 // goroutines kept for calls; once their stacks have grown, calls are faster

	keepaliveMin = 100 * time.Millisecond // between pings of a client on this machine
)

// Serve serves clients on l until Close, then returns nil.
func (n *Node) Serve(l net.Listener) error {
	if err := n.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serving the log: %w", err)
	}
	return nil
}

// closeWithin limits how long Close waits for calls in progress.
const closeWithin = 3 * time.Second

// Close ends the calls in progress and closes the log. Acknowledged events are safe.
func (n *Node) Close() error {
	n.store.beginClose() // ends subscriptions
	done := make(chan struct{})
	go func() { n.server.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-time.After(closeWithin):
		n.server.Stop()
		<-done
	}
	return n.store.close()
}

// unimplemented handles methods that the node does not have, such as persistent
// subscriptions. It waits for the first message: a client that gets a response while it
// sends that gets EOF instead of the reason.
func unimplemented(_ any, call grpc.ServerStream) error {
	if err := call.RecvMsg(&shared.Empty{}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	method, _ := grpc.MethodFromServerStream(call)
	return status.Errorf(codes.Unimplemented, "the embedded node does not implement %s", method)
}

// A panic in one call must not end the node.
func (n *Node) recoverStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer n.recovered(info.FullMethod, &err)
	return handler(srv, ss)
}

func (n *Node) recoverUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
	defer n.recovered(info.FullMethod, &err)
	return handler(ctx, req)
}

func (n *Node) recovered(method string, err *error) {
	if p := recover(); p != nil {
		n.logger.Error("a call to the node panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "the node failed on this call")
	}
}

func newID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
