package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/domain/device"
	"latchkey/internal/app"
)

// Config configures a Server. Every field without a default is required.
type Config struct {
	Accounts Accounts
	Devices  Devices
	// Presence knows which devices respond; nil: nobody does.
	Presence   Presence
	Shares     Shares
	StreamKeys StreamKeys
	PTZ        PTZ      // nil: no camera is moved
	WebRTC     WebRTC   // nil: nothing is shown by WebRTC
	Talk       Talk     // nil: no channel can be talked to
	Playback   Playback // nil: no recordings are played
	Packed     Packed   // nil: nothing is shown as fragmented MP4

	Queries Queries
	Access  Access
	Uses    Uses
	Live    Live // nil: events cannot be followed
	// Cameras asks devices; nil: they give nothing.
	Cameras Cameras
	// Finder finds out how devices are reached; nil: nobody may ask it.
	Finder Finder
	// Alarms are those of devices; nil: none are kept.
	Alarms Alarms

	// PlaybackDelay is how old a recording must be for whoever may play back and not view
	// live; 0: no delay.
	PlaybackDelay time.Duration

	// Firmware is the oldest firmware with which a device may be shared; the default
	// allows every firmware.
	Firmware device.FirmwarePolicy

	// Quotas limits what an account may do; nil: no limits.
	Quotas Quotas

	Sessions Sessions
	// Verification is set if addresses must be proven: registering sends a code.
	Verification bool
	// Registration is who may register; the default is that everybody may.
	Registration app.Mode
	// Invitations to register; nil: accounts make none.
	Invitations Invitations
	// Unused knows whether there is an account yet; nil: there is.
	Unused Unused
	// LoginLinks log in without a password; nil: nobody has any.
	LoginLinks LoginLinks
	Opener     Opener

	Fence    Fence
	Progress Progress

	// Away reports whether an error of a port means that the database is locked or
	// unavailable: the response is then 503. The default returns false.
	Away func(error) bool

	// Components are reported at /readyz, in full to operators only.
	Components []Component
	// Root is the certificate (DER) of the service's own authority, which is offered for
	// download; nil: it has none.
	Root []byte
	// Portal serves GET and POST of every path that is not the API's; it may be nil.
	Portal http.Handler

	Logger *slog.Logger
	// Metrics receives the metrics and is served at /metrics.
	Metrics *prometheus.Registry
	// PrivateMetrics are served to operators only; the default has none.
	PrivateMetrics prometheus.Gatherer

	// Now is the clock; the default is time.Now.
	Now func() time.Time
	// SessionTTL is how long a session lasts; the default is 24 hours.
	SessionTTL time.Duration
	// LoginBurst is how many attempts on a login from one network may fail at once,
	// LoginEvery the interval after which one more is allowed; the defaults are 10 and 30
	// seconds.
	LoginBurst int
	LoginEvery time.Duration
	// EverywhereBurst and EverywhereEvery are the same for a login from all
	// networks from which nobody has logged in to it; the defaults are 100 and
	// 10 seconds. EverywhereEvery is less than LoginEvery, so that one network
	// cannot use it up.
	EverywhereBurst int
	EverywhereEvery time.Duration
	// NetworkBurst and NetworkEvery are the same for log-ins and registrations
	// from one address (IPv6: one /64); the defaults are 100 and 200
	// milliseconds.
	NetworkBurst int
	NetworkEvery time.Duration
	// CodeBurst is how many codes may be sent to one address at once, and CodeEvery how
	// often it gets another one; the defaults are 5 and 12 minutes, which is five an hour
	// in the long run. For a network there are ten times as many.
	CodeBurst int
	CodeEvery time.Duration
	// Limits counts for all processes together; nil: this process counts alone.
	Limits Limits
	// Networks remembers who logged in from where; it may be nil.
	Networks Networks
	// TrustedProxies are the addresses whose forwarded addresses are trusted; the default
	// is none.
	TrustedProxies []netip.Prefix
	// MaxConnections limits the connections that Run serves at once, and
	// MaxConnectionsOfNetwork those of one address (IPv6: one /64) except trusted
	// proxies; the defaults are 1024 and a quarter of all.
	MaxConnections          int
	MaxConnectionsOfNetwork int
	// ShutdownWithin limits how long Run waits for requests in progress at the end; the
	// default is 10 seconds.
	ShutdownWithin time.Duration
}

func (c *Config) setDefaults() {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Away == nil {
		c.Away = func(error) bool { return false }
	}
	if c.PrivateMetrics == nil {
		c.PrivateMetrics = prometheus.NewRegistry()
	}
	setDefault(&c.SessionTTL, 24*time.Hour)
	setDefault(&c.LoginBurst, 10)
	setDefault(&c.LoginEvery, 30*time.Second)
	setDefault(&c.EverywhereBurst, 100)
	setDefault(&c.EverywhereEvery, 10*time.Second)
	setDefault(&c.NetworkBurst, 100)
	setDefault(&c.NetworkEvery, 200*time.Millisecond)
	setDefault(&c.CodeBurst, 5)
	setDefault(&c.CodeEvery, 12*time.Minute)
	setDefault(&c.ShutdownWithin, 10*time.Second)
	setDefault(&c.MaxConnections, 1024)
	setDefault(&c.MaxConnectionsOfNetwork, max(1, c.MaxConnections/4))
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports all errors together.
func (c *Config) validate() error {
	var faults []error
	need := func(name string, there bool) {
		if !there {
			faults = append(faults, fmt.Errorf("%s is missing", name))
		}
	}
	need("Accounts", c.Accounts != nil)
	need("Devices", c.Devices != nil)
	need("Shares", c.Shares != nil)
	need("StreamKeys", c.StreamKeys != nil)
	need("Queries", c.Queries != nil)
	need("Access", c.Access != nil)
	need("Uses", c.Uses != nil)
	need("Sessions", c.Sessions != nil)
	need("Opener", c.Opener != nil)
	need("Fence", c.Fence != nil)
	need("Progress", c.Progress != nil)
	need("Logger", c.Logger != nil)
	need("Metrics", c.Metrics != nil)
	names := make(map[string]bool)
	for i, component := range c.Components {
		if component.Name == "" || component.State == nil || names[component.Name] {
			faults = append(faults, fmt.Errorf("component %d needs a State and a unique Name", i))
		}
		names[component.Name] = true
	}
	positive := func(name string, ok bool) {
		if !ok {
			faults = append(faults, fmt.Errorf("%s must be greater than zero", name))
		}
	}
	positive("SessionTTL", c.SessionTTL > 0)
	positive("LoginBurst", c.LoginBurst > 0)
	positive("LoginEvery", c.LoginEvery > 0)
	positive("EverywhereBurst", c.EverywhereBurst > 0)
	positive("EverywhereEvery", c.EverywhereEvery > 0)
	positive("NetworkBurst", c.NetworkBurst > 0)
	positive("NetworkEvery", c.NetworkEvery > 0)
	positive("CodeBurst", c.CodeBurst > 0)
	positive("CodeEvery", c.CodeEvery > 0)
	positive("ShutdownWithin", c.ShutdownWithin > 0)
	if len(faults) > 0 {
		return fmt.Errorf("configuring the API: %w", errors.Join(faults...))
	}
	return nil
}
