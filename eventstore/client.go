package eventstore

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// Config configures the connection to the log.
type Config struct {
	// Target is unix:///path of an embedded node's socket, or a connection
	// string: esdb://...
	Target string
	// CallTimeout bounds a call, its retries included; 0 is 5 s.
	CallTimeout time.Duration
	// Logger receives lost and restored connections; it may be nil.
	Logger *slog.Logger
}

// Client is a connection to the log. It is safe for concurrent use, and survives every
// failure of the node.
type Client struct {
	esdb    esdb.Configuration
	hosts   []host // where a node may be
	timeout time.Duration
	logger  *slog.Logger
	repeats repeats
	health  health

	life  context.Context // ends with Close
	close context.CancelFunc

	made atomic.Uint64 // connections

	mu     sync.Mutex
	conn   *connection // the working one; nil until the first call, and after a failure
	search *search     // in progress while there is no connection and somebody wants one
}

// Discovery is short, because we restart a failed one: the library's client is dead for
// good after it.
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
	if err := conf.Validate(); err != nil {
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
	c := &Client{esdb: *conf, hosts: hostsOf(cfg.Target), timeout: cfg.CallTimeout, logger: cfg.Logger}
	c.life, c.close = context.WithCancel(context.Background())
	return c, nil
}

// Close ends every call and subscription.
func (c *Client) Close() error {
	c.close()
	c.mu.Lock()
	conn := c.conn
	c.conn = nil
	c.mu.Unlock()
	if conn != nil {
		conn.kill()
	}
	return nil
}

// Connections returns how many connections were made so far. Anything cached from the log
// must be checked when the number has changed: between two connections the log may have
// been replaced by another one, or by an older copy. An outage of a node is noticed by
// calls and subscriptions in progress.
func (c *Client) Connections() uint64 { return c.made.Load() }

// host is an address to dial.
type host struct{ network, address string }

// hostsOf lists the addresses of a validated target.
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
