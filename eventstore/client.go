package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Config says where the log is.
type Config struct {
	// Target is unix:///path of an embedded node's socket, or a connection
	// string: esdb://...
	Target string
	// CallTimeout bounds a call, its retries included; 0 is 5 s.
	CallTimeout time.Duration
	// Logger gets lost and found connections; nil: nobody does.
	Logger *slog.Logger
}

// Client is a connection to the log. It is safe for concurrent use, and it
// outlives every failure of the node.
type Client struct {
	esdb    esdb.Configuration
	hosts   []host // where a node may be
	timeout time.Duration
	logger  *slog.Logger

	mu     sync.Mutex
	conn   *connection // nil until the first call, and after a failure
	closed bool
}

// Discovery is short, as a failed one is started anew by us: the library's
// client is dead for good after it.
const (
	discoverAttempts = 5
	discoverEvery    = 100 // ms
	discoverTimeout  = 2   // s
)

// Open checks the target. It does not wait for the node: calls do.
func Open(cfg Config) (*Client, error) {
	conf, err := configuration(cfg.Target)
	if err != nil {
		return nil, fmt.Errorf("connecting to the log: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = 5 * time.Second
	}
	conf.Logger = esdb.NoopLogging() // it prints credentials and ends the process on odd input
	conf.NodePreference = esdb.NodePreferenceLeader
	conf.MaxDiscoverAttempts, conf.DiscoveryInterval, conf.GossipTimeout = discoverAttempts, discoverEvery, discoverTimeout
	return &Client{esdb: *conf, hosts: hostsOf(cfg.Target), timeout: cfg.CallTimeout, logger: cfg.Logger}, nil
}

// host is an address to dial.
type host struct{ network, address string }

// hostsOf lists the addresses of a target that was checked.
func hostsOf(target string) []host {
	if path, ok := strings.CutPrefix(target, "unix://"); ok {
		return []host{{"unix", path}}
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil
	}
	var list []host
	for _, h := range strings.Split(u.Host, ",") {
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(h, "2113")
		}
		list = append(list, host{"tcp", h})
	}
	return list
}

// reachable says whether any node takes connections. The library must not be
// asked before: each time that it looks for a node in vain it leaves a connection
// behind, which tries for ever.
func (c *Client) reachable(ctx context.Context) error {
	var faults []error
	for _, h := range c.hosts {
		d := net.Dialer{Timeout: discoverTimeout * time.Second}
		conn, err := d.DialContext(ctx, h.network, h.address)
		if err == nil {
			return conn.Close()
		}
		faults = append(faults, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(faults...))
}

func configuration(target string) (*esdb.Configuration, error) {
	if path, ok := strings.CutPrefix(target, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return nil, invalid("%q: want unix:///path, with three slashes", target)
		}
		return &esdb.Configuration{Address: target, DisableTLS: true, KeepAliveInterval: 10 * time.Second, KeepAliveTimeout: 10 * time.Second}, nil
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || (u.Scheme != "esdb" && u.Scheme != "esdb+discover") {
		return nil, invalid("want unix:///path or esdb://host:port") // the target may hold a password
	}
	if u.User != nil && strings.EqualFold(u.Query().Get("tls"), "false") {
		return nil, invalid("with tls=false the client never sends the credentials of the connection string")
	}
	conf, err := esdb.ParseConnectionString(target)
	if err != nil {
		return nil, invalid("the connection string is malformed")
	}
	return conf, nil
}

// Close ends every call and subscription.
func (c *Client) Close() error {
	c.mu.Lock()
	conn := c.conn
	c.conn, c.closed = nil, true
	c.mu.Unlock()
	if conn == nil {
		return nil
	}
	return conn.end()
}

// connection answers the current connection, a new one where there is none.
func (c *Client) connection(ctx context.Context) (*connection, error) {
	c.mu.Lock()
	conn, closed := c.conn, c.closed
	c.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	if closed {
		return nil, ErrClosed
	}
	if err := c.reachable(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.conn == nil {
		conf := c.esdb
		library, err := esdb.NewClient(&conf)
		if err != nil {
			return nil, fmt.Errorf("connecting to the log: %w", err)
		}
		c.conn = newConnection(library)
	}
	return c.conn, nil
}

// discard drops a connection that is of no use any more.
func (c *Client) discard(conn *connection) {
	c.mu.Lock()
	mine := c.conn == conn
	if mine {
		c.conn = nil
	}
	c.mu.Unlock()
	if mine {
		c.logger.Warn("the connection to the log is lost; making a new one")
		_ = conn.end() // it is lost already
	}
}

// leaderOnly makes a node that is not the leader refuse the call rather than
// answer with what it knows. The library's own option never reaches the node.
func leaderOnly(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "requires-leader", "true")
}

// call runs f until it succeeds, fails for good, or the time is over. f must be
// safe to repeat. what says in errors what was being done.
func call[T any](ctx context.Context, c *Client, what string, f func(context.Context, *esdb.Client) (T, error)) (T, error) {
	callers := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var zero T
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		conn, err := c.connection(ctx)
		if errors.Is(err, ErrUnavailable) && pause(ctx, wait) {
			continue
		}
		if err != nil {
			return zero, fmt.Errorf("%s: %w", what, err)
		}
		answer, err := guarded(ctx, conn, f)
		if err == nil {
			return answer, nil
		}
		known, lost := translate(err)
		if callers.Err() != nil { // the caller went away; the log may be well
			return zero, fmt.Errorf("%s: %w: %w", what, ErrUnavailable, callers.Err())
		}
		if lost {
			c.discard(conn)
		}
		if !errors.Is(known, ErrUnavailable) {
			return zero, fmt.Errorf("%s: %w", what, known)
		}
		if !pause(ctx, wait) {
			return zero, fmt.Errorf("%s: %w", what, known)
		}
	}
}

// guarded runs one call of the library so that it ends with its context, or with
// the connection: the library's calls do not always, and may panic when they are
// stuck and their connection is closed.
func guarded[T any](ctx context.Context, conn *connection, f func(context.Context, *esdb.Client) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var zero T
	if !conn.enter() {
		return zero, errNoAnswer
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		var r result
		defer conn.leave()
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("%w: %v", errPanicked, p)
			}
			done <- r
		}()
		r.value, r.err = f(ctx, conn.library)
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-conn.ended:
		return zero, errNoAnswer
	case <-ctx.Done():
		return zero, fmt.Errorf("%w: %w", errNoAnswer, ctx.Err())
	}
}

var (
	errPanicked = errors.New("the client failed")
	errNoAnswer = errors.New("no answer")
)

// pause waits about d; false when the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// translate turns the library's errors into ours, once. lost says that the
// connection must be made anew.
func translate(err error) (known error, lost bool) {
	if errors.Is(err, errPanicked) || errors.Is(err, errNoAnswer) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err), true
	}
	if errors.Is(err, io.EOF) {
		// The node returned its answer before the whole append was sent, and the
		// library lost it.
		return fmt.Errorf("%w: %w", ErrUnavailable, err), false
	}
	var e *esdb.Error
	if errors.As(err, &e) {
		switch e.Code() {
		case esdb.ErrorCodeWrongExpectedVersion:
			return ErrConflict, false
		case esdb.ErrorCodeStreamDeleted:
			return ErrStreamDeleted, false
		case esdb.ErrorCodeResourceNotFound:
			return ErrStreamNotFound, false
		case esdb.ErrorCodeConnectionClosed, esdb.ErrorUnavailable:
			// The library would look for a node on its own, and leave the lost
			// connection open.
			return fmt.Errorf("%w: %w", ErrUnavailable, err), true
		case esdb.ErrorCodeNotLeader, esdb.ErrorAborted, esdb.ErrorCodeDeadlineExceeded:
			return fmt.Errorf("%w: %w", ErrUnavailable, err), false
		}
	}
	return translateStatus(err)
}

// nearlyFull is in the message of the embedded node when it refuses an append to
// keep its disk from filling up. EventStoreDB returns ResourceExhausted for other
// reasons, which pass.
const nearlyFull = "nearly full"

// refusal is a known error in the words of the node.
type refusal struct {
	known error
	words string
}

func (r refusal) Error() string { return r.words }
func (r refusal) Unwrap() error { return r.known }

// translateStatus is for what the library does not name: some arrive as gRPC
// errors, some as code 0 with the server's words.
func translateStatus(err error) (known error, lost bool) {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		switch text := s.GRPCStatus().Message(); {
		case strings.Contains(text, "Maximum Append Size"):
			return ErrTooLarge, false
		case strings.Contains(text, "WrongExpectedVersion"):
			return ErrConflict, false
		case s.GRPCStatus().Code() == codes.ResourceExhausted && strings.Contains(text, nearlyFull):
			return refusal{ErrFull, text}, false
		}
		switch s.GRPCStatus().Code() {
		case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.ResourceExhausted:
			return fmt.Errorf("%w: %w", ErrUnavailable, err), false
		}
	}
	return err, false
}
