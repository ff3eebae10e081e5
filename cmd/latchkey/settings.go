package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/domain/device"
	"latchkey/internal/app"
	"latchkey/internal/descriptors"
	"latchkey/internal/memory"
	"latchkey/internal/outbox"
	"latchkey/internal/quota"
	"latchkey/streaming/rtsp"
)

// settings are the flags of the service. They are text, so that all errors in them can be
// reported together.
type settings struct {
	Data               string `default:"latchkey-data" placeholder:"DIR" help:"Folder for the log, the read models and the vault (${default})."`
	HTTP               string `name:"http" default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address of the REST API (${default})."`
	RTSP               string `name:"rtsp" default:"127.0.0.1:8554" placeholder:"ADDR" help:"Address of the RTSP door (${default})."`
	RTSPS              string `name:"rtsps" placeholder:"ADDR" help:"Address of the RTSP door over TLS, such as 0.0.0.0:322. Without it: none."`
	RTSPSCert          string `name:"rtsps-cert" placeholder:"FILE" help:"TLS certificate of --rtsps, with its chain, as PEM. It is read again when it changes. Without it: that of --https."`
	RTSPSKey           string `name:"rtsps-key" placeholder:"FILE" help:"Key of that certificate, as PEM, which only this user and group may read."`
	RTSPMulticast      string `name:"rtsp-multicast" placeholder:"CIDR" help:"Range of IPv4 multicast groups for players of a device's owner, such as 239.255.42.0/24. Without it: nothing is sent by multicast."`
	WebRTC             string `name:"webrtc" placeholder:"ADDR" help:"Address of the UDP port of live view in browsers, by WebRTC, such as 0.0.0.0:8189; off: none. Without it: port 8189, or another one if that is taken, on loopback as long as only this machine can reach the REST API."`
	WebRTCAddress      string `name:"webrtc-address" placeholder:"IP,..." help:"Addresses at which browsers also reach --webrtc, such as the public one of a NAT that passes the port on."`
	Metrics            string `placeholder:"ADDR" help:"Address of metrics and of the details of readiness, for operators; off: none. Without it: 127.0.0.1:9464, or another port there if that is taken."`
	Eventstore         string `default:"embedded" placeholder:"TARGET" help:"The log: embedded, unix:///path of a latchkey node, or esdb://... (${default})."`
	Database           string `default:"sqlite" placeholder:"DSN" help:"The read models and the vault: sqlite (in the data folder) or postgres://... (${default})."`
	VaultKey           string `placeholder:"FILE" help:"File with the key of the vault. Without it: vault.key in the data folder for SQLite, kept in the database for PostgreSQL."`
	Journal            string `placeholder:"FILE" help:"Journal of revocations: what a restored log must not grant again. Without it: revocations.journal in the data folder."`
	MaxStaleness       string `default:"5s" placeholder:"TIME" help:"How far the privilege index may be behind the log before the door closes (${default})."`
	SessionTTL         string `default:"720h" placeholder:"TIME" help:"How long a login lasts (${default})."`
	PlaybackDelay      string `default:"15m" placeholder:"TIME" help:"How old a recording must be for whoever may play back and not view live; 0: no delay (${default})."`
	CloseAfter         string `default:"10s" placeholder:"TIME" help:"How long a camera's stream stays open after its last viewer (${default})."`
	CameraNets         string `default:"any" placeholder:"CIDR,..." help:"The only networks in which cameras are dialled; any: every unicast address but link-local ones, networks where no camera is and, once others can reach the REST API, loopback (${default})."`
	WebhookNets        string `placeholder:"CIDR,..." help:"Networks in which accounts may have webhooks, besides public addresses: without it, none on loopback, link-local, private or reserved addresses."`
	DeviceProof        string `default:"required" placeholder:"WORD" help:"required: a device is added only after it let us in; off: it is added as it is described, for devices that are away (${default})."`
	DeviceSearch       string `default:"setup" placeholder:"WORD" help:"Who may have the local network asked for cameras (WS-Discovery): setup: the first account, until there is another one; on: every account; off: nobody (${default})."`
	SharingFirmware    string `placeholder:"FILE" help:"YAML file with the oldest firmware with which devices may be shared, by pattern of models: 'DS-2CD*: V5.5.71 build 180723'. Without it: any firmware."`
	TrustedProxies     string `placeholder:"CIDR,..." help:"Reverse proxies in front of the REST API: their X-Forwarded-For or Forwarded header names the client. Without it: the client is the address that connects."`
	InvitationsPerHour string `default:"20000" placeholder:"N" help:"How many devices one account may offer to others in an hour (${default}); the same as invitations=N in --quotas, which wins."`
	TransferTTL        string `name:"transfer-ttl" default:"168h" placeholder:"TIME" help:"How long an offer to hand a device over to another account can be accepted (${default})."`
	ReclaimWait        string `name:"reclaim-wait" default:"72h" placeholder:"TIME" help:"How long the owner of a device can object before whoever has proven its password can take it over (${default}); less than 24h is for trials."`
	Quotas             string `placeholder:"NAME=N,..." help:"What one account may have and do, such as devices=100,commands=50 a second; GET /api/v1/accounts/me lists all of them with their defaults."`
	MemoryLimit        string `default:"auto" placeholder:"SIZE" help:"Limit on the memory of the process, such as 512MiB; auto: nine tenths of its cgroup's; off (${default})."`
	Secure             `embed:""`
	People             `embed:""`
	Logging            `embed:""`
}

// Logging are the flags of every long-running command.
type Logging struct {
	LogLevel  string `default:"info" placeholder:"LEVEL" help:"debug, info, warn or error (${default})."`
	LogFormat string `default:"text" placeholder:"FORMAT" help:"text or json (${default})."`
}

// options are validated settings.
type options struct {
	settings
	maxStaleness, sessionTTL, closeAfter time.Duration
	transferTTL, reclaimWait             time.Duration
	playbackDelay                        time.Duration
	cameraNets                           []netip.Prefix
	multicast                            netip.Prefix
	webrtcAddresses                      []netip.Addr
	secure                               secureOptions
	webhookNets                          []netip.Prefix
	trustedProxies                       []netip.Prefix
	firmware                             device.FirmwarePolicy
	memoryLimit                          int64 // bytes
	quotas                               quota.Limits
	registration                         app.Mode
	verify                               bool                     // addresses must be proven
	senders                              map[string]outbox.Sender // by the kind of address
	connections                          int                      // of HTTP, and as many of RTSP
	links                                *loginLinks              // nil: nobody logs in by a link
	strangers                            bool                     // other machines can reach the REST API
}

// check validates the settings and reports all errors.
func (s settings) check() (options, error) {
	o := options{settings: s}
	faults := s.Logging.checkSettings()
	fault := func(flag, format string, args ...any) {
		faults = append(faults, "--"+flag+": "+fmt.Sprintf(format, args...))
	}
	if s.Data == "" {
		fault("data", "a folder is required")
	}
	addresses := [][2]string{{"http", s.HTTP}, {"rtsp", s.RTSP}}
	if s.Metrics != "" && s.Metrics != metricsOff {
		addresses = append(addresses, [2]string{"metrics", s.Metrics})
	}
	for _, f := range [][2]string{{"rtsps", s.RTSPS}, {"https", s.HTTPS}} {
		if f[1] != "" {
			addresses = append(addresses, f)
		}
	}
	if s.RTSPSCert != "" && s.RTSPS == "" || (s.RTSPSCert == "") != (s.RTSPSKey == "") || s.RTSPS != "" && s.RTSPSCert == "" && s.HTTPS == "" {
		fault("rtsps", "it goes together with --rtsps-cert and --rtsps-key, or with --https, whose certificate it then has")
	}
	o.secure = s.checkHTTPS(fault)
	for _, f := range addresses {
		addr, err := net.ResolveTCPAddr("tcp", f[1])
		if err != nil || !strings.Contains(f[1], ":") {
			fault(f[0], "%q is not an address such as 127.0.0.1:8080", f[1])
		} else if (f[0] == "http" || f[0] == "https") && !addr.IP.IsLoopback() {
			o.strangers = true
		}
	}
	if err := checkEventstore(s.Eventstore); err != nil {
		fault("eventstore", "%v", err)
	}
	if s.Database != "sqlite" && !isPostgres(s.Database) {
		fault("database", "want sqlite or postgres://...")
	}
	duration := func(flag, text string, least, most time.Duration) time.Duration {
		d, err := time.ParseDuration(text)
		if err != nil {
			fault(flag, "%q is not a time such as 5s or 10m", text)
		} else if d < least || d > most {
			fault(flag, "%v is out of bounds: %v to %v", d, least, most)
		}
		return d
	}
	o.maxStaleness = duration("max-staleness", s.MaxStaleness, 500*time.Millisecond, time.Minute)
	o.sessionTTL = duration("session-ttl", s.SessionTTL, time.Minute, 365*24*time.Hour)
	o.playbackDelay = duration("playback-delay", cmp.Or(s.PlaybackDelay, defaultPlaybackDelay), 0, 7*24*time.Hour)
	// Immediately means as soon as the door can; its zero would mean its own default.
	o.closeAfter = max(duration("close-after", s.CloseAfter, 0, time.Hour), 200*time.Millisecond)
	o.transferTTL = duration("transfer-ttl", cmp.Or(s.TransferTTL, defaultTransferTTL), time.Second, 90*24*time.Hour)
	o.reclaimWait = duration("reclaim-wait", cmp.Or(s.ReclaimWait, defaultReclaimWait), time.Second, 90*24*time.Hour)
	limit, err := memory.Limit(s.MemoryLimit)
	if err != nil {
		fault("memory-limit", "%v", err)
	}
	o.memoryLimit = limit
	if o.quotas, err = quota.Parse(s.Quotas); err != nil {
		fault("quotas", "%v", err)
	}
	o.registration = s.checkRegistration(fault)
	o.senders, o.verify = s.checkSenders(fault), s.Verification != off
	if s.Verification != required && s.Verification != off && s.Verification != "" { // a tool's: as required
		fault("verification", "%q is not one of required and off", s.Verification)
	}
	if s.InvitationsPerHour == "" { // a tool's, and the demo's
		s.InvitationsPerHour = defaultInvitations
	}
	if n, err := strconv.Atoi(s.InvitationsPerHour); err != nil || n < 1 || n > 1_000_000_000 {
		fault("invitations-per-hour", "%q is not a whole number of at least 1", s.InvitationsPerHour)
	} else if o.quotas != nil && !strings.Contains(s.Quotas, app.QuotaInvitations+"=") {
		o.quotas[app.QuotaInvitations] = n
	}
	if s.CameraNets != anyNetwork {
		if o.cameraNets = networks("camera-nets", s.CameraNets, fault); len(o.cameraNets) == 0 {
			fault("camera-nets", "names no network: leave it out, or say any, to dial cameras everywhere")
		}
	}
	if s.RTSPMulticast != "" {
		if o.multicast, err = netip.ParsePrefix(s.RTSPMulticast); err == nil {
			err = rtsp.CheckMulticast(o.multicast)
		}
		if err != nil {
			fault("rtsp-multicast", "%q: %v", s.RTSPMulticast, err)
		}
	}
	o.webrtcAddresses = s.checkWebRTC(fault)
	o.webhookNets = networks("webhook-nets", s.WebhookNets, fault)
	if s.DeviceProof != proofRequired && s.DeviceProof != proofOff && s.DeviceProof != "" { // a tool's: it adds none
		fault("device-proof", "%q is not one of required and off", s.DeviceProof)
	}
	if !slices.Contains([]string{searchSetup, searchOn, off, ""}, s.DeviceSearch) {
		fault("device-search", "%q is not one of setup, on and off", s.DeviceSearch)
	}
	if o.firmware, err = readFirmwarePolicy(s.SharingFirmware); err != nil {
		fault("sharing-firmware", "%v", err)
	}
	o.connections = descriptors.Each()
	o.trustedProxies = networks("trusted-proxies", s.TrustedProxies, fault)
	o.strangers = o.strangers || len(o.trustedProxies) > 0
	if faults != nil {
		return o, &configFaults{faults}
	}
	return o, nil
}

// checkWebRTC returns the addresses at which browsers also reach the port.
func (s settings) checkWebRTC(fault func(flag, format string, args ...any)) (out []netip.Addr) {
	if s.WebRTC != "" && s.WebRTC != off {
		if _, err := net.ResolveUDPAddr("udp", s.WebRTC); err != nil || !strings.Contains(s.WebRTC, ":") {
			fault("webrtc", "%q is neither an address such as 0.0.0.0:8189 nor off", s.WebRTC)
		}
	}
	for text := range strings.SplitSeq(s.WebRTCAddress, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() {
			fault("webrtc-address", "%q is not an IP address such as 203.0.113.7", text)
			continue
		}
		out = append(out, addr.Unmap())
	}
	if len(out) > 0 && s.WebRTC == off {
		fault("webrtc-address", "it does not go together with --webrtc off")
	}
	return out
}

// networks reads a list of networks; a single address is a network of one.
func networks(flag, list string, fault func(flag, format string, args ...any)) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range commaList(list) {
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			prefix, err = netip.PrefixFrom(addr.Unmap().WithZone(""), addr.Unmap().BitLen()), nil
		}
		if err != nil {
			fault(flag, "%q is not a network such as 192.168.1.0/24", text)
		}
		out = append(out, prefix.Masked())
	}
	return out
}

func checkEventstore(target string) error {
	if target == "embedded" {
		return nil
	}
	if path, ok := strings.CutPrefix(target, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q: want three slashes and an absolute path, unix:///path", target)
		}
		return nil
	}
	if u, err := url.Parse(target); err != nil || (u.Scheme != "esdb" && u.Scheme != "esdb+discover") || u.Host == "" {
		return fmt.Errorf("want embedded, unix:///path or esdb://host:port") // the target may hold a password
	}
	return nil
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// mayDial is the policy for the addresses of cameras, called with the resolved address of
// a name.
func (o options) mayDial(addr netip.Addr) error {
	addr = addr.Unmap()
	if o.cameraNets != nil {
		for _, p := range o.cameraNets {
			if p.Contains(addr) {
				return nil
			}
		}
		return fmt.Errorf("dialing a camera: its address is outside --camera-nets")
	}
	if addr.IsLoopback() {
		if o.strangers {
			return fmt.Errorf("dialing a camera: its address is on loopback, and other machines can reach the REST API; add the network to --camera-nets if a camera is there")
		}
		return nil
	}
	if !addr.IsGlobalUnicast() {
		return fmt.Errorf("dialing a camera: its address is not a host address")
	}
	for _, p := range noCameras {
		if p.Contains(addr.WithZone("")) {
			return fmt.Errorf("dialing a camera: its address is in %v, which is reserved; add the network to --camera-nets if a camera is there", p)
		}
	}
	return nil
}

// mayCall is the policy for the addresses of webhooks, called with the resolved address of
// a name. Accounts name them: they must not reach what only we can reach.
func (o options) mayCall(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	for _, p := range o.webhookNets {
		if p.Contains(addr) {
			return nil
		}
	}
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return errors.New("calling a webhook: its address is not a public one")
	}
	for _, p := range slices.Concat(noCameras, noWebhooks) {
		if p.Contains(addr) {
			return fmt.Errorf("calling a webhook: its address is in %v, which is reserved", p)
		}
	}
	return nil
}

// noWebhooks are networks that are not public, besides those of noCameras.
var noWebhooks = prefixes(
	"192.0.2.0/24",    // documentation (RFC 5737)
	"198.51.100.0/24", // documentation (RFC 5737)
	"203.0.113.0/24",  // documentation (RFC 5737)
	"192.88.99.0/24",  // 6to4 relays, deprecated (RFC 7526)
	"100::/64",        // discarded (RFC 6666)
	"2001:db8::/32",   // documentation (RFC 3849)
	"3fff::/20",       // documentation (RFC 9637)
	"5f00::/16",       // segment routing (RFC 9602)
	"fec0::/10",       // site-local, deprecated (RFC 3879)
)

// What device-proof may be.
const (
	proofRequired = "required"
	proofOff      = "off"
)

// noCameras are networks in which cameras are only dialed if the operator allows it: some
// of them have services that must not be reachable for strangers, such as the metadata
// services of clouds, and others map to addresses that the policy would refuse.
var noCameras = prefixes(
	"0.0.0.0/8",         // this network (RFC 1122)
	"100.64.0.0/10",     // carrier-grade NAT (RFC 6598), and metadata services in it
	"168.63.129.16/32",  // the host's services of Azure
	"192.0.0.0/24",      // protocol assignments (RFC 6890), and metadata services in it
	"198.18.0.0/15",     // benchmarks of networks (RFC 2544)
	"240.0.0.0/4",       // reserved (RFC 1112)
	"::/96",             // IPv4-compatible, deprecated (RFC 4291)
	"64:ff9b::/96",      // NAT64 (RFC 6052)
	"64:ff9b:1::/48",    // NAT64 of an operator (RFC 8215)
	"2001::/32",         // Teredo (RFC 4380)
	"2002::/16",         // 6to4 (RFC 3056)
	"fd00:ec2::254/128", // metadata of AWS
	"fd20:ce::254/128",  // metadata of Google
	"fd00:42::42/128",   // metadata of Scaleway
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, text := range list {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// refusesLoopback reports whether no camera is dialed on loopback because strangers, who
// have no devices there, may register.
func (o options) refusesLoopback() bool { return o.strangers && o.cameraNets == nil }

// defaultInvitations is what --invitations-per-hour is without a value.
const defaultInvitations = "20000"

// What --transfer-ttl and --playback-delay are without a value.
const (
	defaultTransferTTL   = "168h"
	defaultPlaybackDelay = "15m"
)

// defaultReclaimWait is what --reclaim-wait is without a value, and shortReclaimWait what
// is too short for people who do not read their mail every day.
const (
	defaultReclaimWait = "72h"
	shortReclaimWait   = 24 * time.Hour
)

// Values of flags.
const (
	required = "required"
	off      = "off"
)

// anyNetwork is the value of camera-nets that allows everything. An empty value does not
// mean the same: a list that became empty by mistake must not allow everything.
const anyNetwork = "any"

// checkSettings returns all errors in the settings, so that they can be reported with
// those of the file.
func (s settings) checkSettings() []string {
	_, err := s.check()
	var faults *configFaults
	if errors.As(err, &faults) {
		return faults.list
	}
	return nil
}

// checkSettings returns the errors in the flags of the log.
func (s Logging) checkSettings() (faults []string) {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s.LogLevel) {
		faults = append(faults, fmt.Sprintf("--log-level: %q is not one of debug, info, warn and error", s.LogLevel))
	}
	if !slices.Contains([]string{"text", "json"}, s.LogFormat) {
		faults = append(faults, fmt.Sprintf("--log-format: %q is not one of text and json", s.LogFormat))
	}
	return faults
}

// logger writes to standard error.
func (s Logging) logger(std streams) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		level = slog.LevelInfo // it was validated
	}
	o := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(std.err, o))
	}
	return slog.New(slog.NewTextHandler(std.err, o))
}

// makeDataDir creates the data folder, which only its owner may enter. Access of others
// to an existing one, and to its content, is removed.
func (s settings) makeDataDir(logger *slog.Logger) error {
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return fmt.Errorf("creating the data folder: %w", err)
	}
	if unwritable(s.Data) {
		return fmt.Errorf("the data folder %s cannot be written to: make it writable for this user, or choose another with --data", s.Data)
	}
	paths := []string{s.Data}
	for _, pattern := range []string{"vault.db*", "projections.db*", "*.journal"} {
		found, err := filepath.Glob(filepath.Join(s.Data, pattern))
		if err != nil {
			return fmt.Errorf("reading the data folder: %w", err)
		}
		paths = append(paths, found...)
	}
	for _, path := range paths {
		if err := closeToOthers(path, logger); err != nil {
			return err
		}
	}
	return nil
}

// closeToOthers removes all access to a file or folder for users other than the owner.
func closeToOthers(path string, logger *slog.Logger) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return nil // a missing file needs nothing; one that cannot be opened is reported later
	}
	if err := os.Chmod(path, info.Mode().Perm()&^0o077); err != nil {
		return fmt.Errorf("closing %s to other users: %w: change its owner or mode", path, err)
	}
	logger.Info("it was accessible to other users; its mode is now restricted", "path", path, "mode", info.Mode().Perm().String())
	return nil
}
