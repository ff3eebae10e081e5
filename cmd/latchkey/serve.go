package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"latchkey/api"
	"latchkey/api/portal"
	"latchkey/domain/ids"
	"latchkey/eventstore"
	"latchkey/internal/alarms"
	"latchkey/internal/app"
	"latchkey/internal/journal"
	"latchkey/internal/live"
	"latchkey/internal/memory"
	"latchkey/internal/quota"
	"latchkey/internal/reactors"
	"latchkey/internal/webhook"
	"latchkey/projections"
	"latchkey/projections/access"
	"latchkey/projections/engine"
	"latchkey/streaming/device"
	"latchkey/streaming/mse"
	"latchkey/streaming/playback"
	"latchkey/streaming/ptz"
	"latchkey/streaming/rtsp"
	"latchkey/streaming/upstream"
	"latchkey/streaming/webrtc"
)

// serveCommand runs the service.
type serveCommand struct {
	settings
}

// Run serves until the context ends.
func (c *serveCommand) Run(ctx context.Context, std streams) error {
	o, err := c.check()
	if err != nil {
		return err
	}
	logger := o.logger(std)
	if err := o.makeDataDir(logger); err != nil {
		return err
	}
	s, err := startService(ctx, o, logger)
	if err != nil && ctx.Err() != nil {
		logger.Info("latchkey stopped before it was ready", "because", err)
		return nil
	}
	if err != nil {
		return err
	}
	logger.Info("latchkey serves", "http", s.httpAddr(), "https", s.httpsAddr(), "rtsp", s.rtspAddr(), "webrtc", s.webrtcAddr(), "metrics", s.metricsAddr(), "eventstore", redacted(o.Eventstore), "database", redacted(o.Database))
	s.warnOfNetworks(o)
	s.warnOfMail(o)
	s.warnOfVerification(o)
	if o.reclaimWait < shortReclaimWait {
		s.logger.Warn("--reclaim-wait is short: the owner of a device has little time to object before somebody else takes it over", "wait", o.reclaimWait)
	}
	s.tellHTTPS(o, std.err)
	if err := s.tellSetUp(ctx, o, std.err); err != nil {
		return errors.Join(err, s.stop())
	}
	return s.wait(ctx)
}

// warnOfNetworks warns about what can be read in transit if other machines can connect.
func (s *runningService) warnOfNetworks(o options) {
	for _, l := range []struct {
		flag, has, instead string
		listener           interface{ Addr() net.Addr }
	}{
		{"--http", "passwords and sessions", "use --https instead", s.http},
		{"--rtsp", "pictures and sound, and the secrets of stream keys in Basic authentication,", "use --rtsps instead", s.door},
	} {
		if !onLoopback(l.listener) && (l.listener != s.http || !s.redirects()) {
			s.logger.Warn(l.flag+" is open to other machines without TLS: "+l.has+" can be read in transit; "+l.instead+" unless you trust the network", "address", l.listener.Addr().String())
		}
	}
	if s.metrics != nil && !onLoopback(s.metrics) {
		s.logger.Warn("--metrics is open to other machines: anyone who can reach it can read why cameras were not reached and what is not ready; restrict it to those who monitor the service", "address", s.metricsAddr())
	}
	if o.refusesLoopback() {
		s.logger.Warn("cameras on loopback are not dialed, as other machines can reach the REST API; if you have any, add 127.0.0.0/8 to --camera-nets")
	}
}

// runningService is the packages, wired and started.
type runningService struct {
	logger    *slog.Logger
	opened    *opened
	journal   *journal.Journal
	upstreams *upstream.Pool
	watch     *device.Watch
	desk      *ptz.Desk
	alarms    *alarmRoom
	recorders *playback.Recorders
	door      *rtsp.Door
	webrtc    *webrtc.Door // nil: off
	packed    *mse.Pool
	mouth     mouth
	http      net.Listener
	https     net.Listener // nil: off
	metrics   net.Listener // nil: off

	certificates *certificates // of HTTPS; nil: off

	parts  []part // in the order of their start
	failed chan error

	stopping sync.Once
	stopped  error
}

// startService opens the stores, starts the parts and returns when requests are accepted.
// /readyz reports whether the service is ready. The context limits the start, not the
// service.
func startService(ctx context.Context, o options, logger *slog.Logger) (_ *runningService, err error) {
	s := &runningService{logger: logger, failed: make(chan error, 8)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.opened, err = o.open(ctx, logger, false); err != nil {
		return nil, err
	}
	if err := s.checkVault(ctx); err != nil {
		return nil, err
	}
	if err := s.checkReadModels(ctx); err != nil {
		return nil, err
	}
	if err := s.startJournal(ctx, o); err != nil {
		return nil, err
	}
	if s.certificates, err = o.openCertificates(logger); err != nil {
		return nil, err
	}
	doorCertificate, err := o.doorCertificate(s.certificates, logger)
	if err != nil {
		return nil, err
	}
	metrics, private := prometheus.NewRegistry(), prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	x, err := access.New(access.Config{Source: s.opened.store, Log: s.opened.log, MaxStaleness: o.maxStaleness, Logger: logger})
	if err != nil {
		return nil, err
	}
	ledger := newLedger(o, s.opened)
	runner, err := projections.NewRunner(projections.RunnerConfig{Store: s.opened.store, Client: s.opened.log, Logger: logger})
	if err != nil {
		return nil, err
	}
	pool := func() *upstream.Pool { return s.upstreams }
	client, err := newDeviceClient(pool, logger)
	if err != nil {
		return nil, err
	}
	s.opened.holdings, s.opened.erased = holdings{runner}, s.journal.Erased
	s.watch = newWatch(client, s.opened.store, s.opened.vault, pool, logger)
	s.opened.webhooks = webhook.New(webhook.Config{Allow: o.mayCall})
	s.opened.push = newPush(o, s.opened)
	useCases, err := newUseCases(s.opened, x, runner, ledger, prover{client}, o)
	if err != nil {
		return nil, err
	}
	sends := alarms.NewSends(x, logger)
	tell := newTeller(s.opened, o, useCases.Told, runner, sends)
	s.alarms = newAlarms(o, s.opened, x, sends, tell, client, logger)
	for _, f := range reactors.Followers(s.opened.store, reactors.List(runner, policies{useCases.Devices, useCases.Accounts, tell})) {
		if err := runner.Follow(f); err != nil {
			return nil, err
		}
	}
	if s.upstreams, err = newUpstreams(o, x, s.opened, s.watch, metrics, private, logger); err != nil {
		return nil, err
	}
	if s.mouth, err = newMouth(o, x, s.opened, s.upstreams, client, logger); err != nil {
		return nil, err
	}
	s.recorders = playback.New(playback.Config{Sources: &recordings{vault: s.opened.vault, client: client}, Contact: s.upstreams.Contact, Logger: logger})
	if s.door, err = newDoor(o, doorCertificate, x, s.opened, s.upstreams, s.recorders, s.mouth, metrics, logger); err != nil {
		return nil, err
	}
	if s.packed, err = mse.New(s.upstreams, metrics); err != nil {
		return nil, err
	}
	if s.webrtc, err = newWebRTC(o, x, s.opened, s.upstreams, s.mouth, metrics, logger); err != nil {
		return nil, err
	}
	if s.desk, err = newDesk(o, x, s.opened, client, s.watch, metrics, logger); err != nil {
		return nil, err
	}
	x.OnChange(func(c access.Change) {
		if c.Key != "" {
			s.door.Forget(c.Key)
		}
		s.upstreams.Recheck(c.Account, c.Device)
		s.alarms.gone(c)
	})
	registerIndexMetrics(metrics, x)
	metrics.MustRegister(s.opened.logState)
	registerProjectionMetrics(metrics, runner)
	s.alarms.registerMetrics(metrics)
	hub := live.New(live.Config{Log: s.opened.log, Logins: logins{runner, s.opened.store}, Logger: logger})
	server, err := s.newAPI(o, useCases, runner, hub, client, x, ledger, metrics, private)
	if err != nil {
		return nil, err
	}
	s.opened.uses = func(ctx context.Context) {
		s.desk.SessionsEnded(ctx)
		if s.webrtc != nil {
			s.webrtc.SessionsEnded(ctx)
		}
		server.SessionsEnded(ctx)
	}
	if err = s.listen(o); err != nil {
		return nil, err
	}
	if s.metrics, err = o.listenForMetrics(logger); err != nil {
		return nil, err
	}
	if s.metrics != nil {
		s.upstreams.NeverDial(s.metrics.Addr())
		s.run("metrics", func(ctx context.Context) error { return server.RunForOperators(ctx, s.metrics) })
	}

	s.run("memory", func(ctx context.Context) error { memory.Keep(ctx, o.memoryLimit); return nil })
	s.run("projections", runner.Run)
	s.run("privilege index", x.Run)
	s.run("notices", hub.Run)
	keeper := &vaultKeeper{opened: s.opened, devices: useCases.Devices, shares: useCases.Accounts, runner: runner, logger: logger, alone: s.opened.node != nil && !isPostgres(o.Database)}
	if keeper.before, err = s.opened.contents(ctx); err != nil {
		return nil, err
	}
	s.run("vault", keeper.Run)
	s.run("secrets of stream keys", s.teachDoor)
	if err = s.startOutbox(ctx, o); err != nil {
		return nil, err
	}
	s.startTelling(o, tell)
	s.startAlarms(s.alarms)
	s.run("streams of cameras", s.upstreams.Run)
	s.run("moving cameras", s.desk.Run)
	if s.webrtc != nil {
		s.run("WebRTC", s.webrtc.Run)
	}
	if o.DeviceProof != proofOff { // otherwise nobody but viewers makes us connect
		s.run("presence of devices", s.watch.Run)
	}
	if err = s.door.Start(); err != nil {
		return nil, err
	}
	s.run("door", func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = s.door.Close() }) // Wait returns its error
		defer stop()
		return s.door.Wait()
	})
	s.run("REST API", func(ctx context.Context) error { return s.serveAPI(ctx, server) })
	if s.certificates != nil && s.certificates.acme != nil { // the authority looks at the REST API
		s.run("ACME", s.certificates.acme.Run)
	}
	return s, nil
}

// checkVault refuses a vault that does not belong to the log. If the log does not
// respond, the vault is compared when it does; until then no command is accepted.
func (s *runningService) checkVault(ctx context.Context) error {
	err := s.opened.matchVault(ctx, s.logger)
	if errors.Is(err, eventstore.ErrUnavailable) {
		s.opened.unmatched.Store(true)
		s.logger.Warn("the vault cannot be compared with the log yet", "error", err)
		return nil
	}
	return err
}

// rememberWithin limits how long ending a session waits for the log.
const rememberWithin = 2 * time.Second

// sessionEnded remembers in the log that something was taken away in the vault,
// so that an older copy of the vault does not revive it. If the log does not take
// that now, the keeper of the vault tries again. Before that, what sessions are used for
// ends with them.
func (p *opened) sessionEnded(ctx context.Context) {
	if p.uses != nil {
		p.uses(context.WithoutCancel(ctx))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rememberWithin)
	defer cancel()
	if err := p.compareTaken(ctx, p.logger); err != nil {
		p.logger.Debug("the end of a session could not be recorded in the log yet", "error", err)
	}
}

// checkReadModels refuses a log from which events that the read models have seen are
// missing. If the log does not respond, the projections check it when it does; until then
// lists and access are denied.
func (s *runningService) checkReadModels(ctx context.Context) error {
	err := s.opened.store.Check(ctx, s.opened.log)
	if errors.Is(err, eventstore.ErrUnavailable) {
		s.logger.Warn("the read models cannot be compared with the log yet", "error", err)
		return nil
	}
	return err
}

func (s *runningService) httpAddr() string { return s.http.Addr().String() }
func (s *runningService) httpsAddr() string {
	if s.https == nil {
		return "none"
	}
	return s.https.Addr().String()
}

func (s *runningService) rtspAddr() string { return s.door.Addr().String() }

func (s *runningService) webrtcAddr() string {
	if s.webrtc == nil {
		return off
	}
	return s.webrtc.Addr().String()
}

func (s *runningService) metricsAddr() string {
	if s.metrics == nil {
		return metricsOff
	}
	return s.metrics.Addr().String()
}

// teachDoor passes the secrets of stream keys to the door before their first use, so that
// it keeps working when the database is unavailable.
func (s *runningService) teachDoor(ctx context.Context) error {
	err := s.opened.vault.StreamSecrets(ctx, rtsp.MaxSecrets, func(key, secret string) { s.door.Learn(ids.Key(key), secret) })
	if err != nil && ctx.Err() == nil {
		s.logger.Warn("the secrets of stream keys could not be preloaded; each is read at its first use", "error", err)
	}
	return nil
}

// newUseCases takes the index that checks whether the log is the right one, the finder of
// a removed device's shares, the counter of quotas, and the one who connects to devices;
// nil for a tool that has none.
func newUseCases(p *opened, fit *access.Index, shares app.SharesOfDevice, quotas app.Quotas, prover app.Prover, o options) (app.UseCases, error) {
	return app.New(app.Config{
		Log: guardedLog{appLog{p.log, fit}, p}, Sealer: p.vault, Passwords: passwords{p.vault, p.sessionEnded}, Cameras: cameraVault{p.vault}, StreamSecrets: streamSecrets{p.vault},
		ShareCodes: shareCodes{p.vault, p.sessionEnded}, Domains: p.store, Shares: shares, Asked: p.store, Requests: requests{p.vault}, Quotas: quotas, Prover: prover, ProofOff: o.DeviceProof == proofOff, Firmware: o.firmware, Logger: p.logger,
		Verification: p.verify, Codes: p.vault, Messenger: messenger{p, o.senders}, Allowances: p.vault, Registration: p.registration, Invitations: p.vault,
		Holdings: p.holdings, Eraser: eraser{p}, TransferTTL: o.transferTTL, ReclaimWait: o.reclaimWait, Claims: p.store, Webhooks: webhooksOf(p),
	})
}

// mostDials is how many cameras are dialed at once, if there are enough descriptors.
const mostDials = 256

func newUpstreams(o options, x *access.Index, p *opened, watch *device.Watch, metrics, private prometheus.Registerer, logger *slog.Logger) (*upstream.Pool, error) {
	return upstream.New(upstream.Config{
		Cameras: cameraSources{p.vault}, Privileges: doorAccess{x}, Allow: o.mayDial, Reached: reached(watch), Dropped: dropped(watch), Unpublished: unpublished(watch),
		Logger: logger, Metrics: metrics, Private: private, CloseAfter: o.closeAfter, MaxDials: min(mostDials, max(1, o.connections/2)),
	})
}

func newDoor(o options, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), x *access.Index, p *opened, u *upstream.Pool, recorders *playback.Recorders, m mouth, metrics prometheus.Registerer, logger *slog.Logger) (*rtsp.Door, error) {
	return rtsp.New(rtsp.Config{
		Address: o.RTSP, TLSAddress: o.RTSPS, Certificate: certificate, Multicast: o.multicast,
		Access: doorAccess{x}, Secrets: doorSecrets{p.vault}, Uses: doorUses{p.vault},
		Upstreams: u, Recorders: recorders, PlaybackDelay: o.playbackDelay, Lines: m.lines, Floor: m.floor,
		MaxConnections: o.connections, MaxConnectionsPerAddress: min(1024, max(1, o.connections/4)),
		Logger: logger, Metrics: metrics,
	})
}

func (s *runningService) newAPI(o options, u app.UseCases, runner *projections.Runner, hub *live.Hub, client *device.Client, x *access.Index, ledger *quota.Ledger, metrics, private *prometheus.Registry) (*api.Server, error) {
	var limits api.Limits // with SQLite there is no other process to count with
	if isPostgres(o.Database) {
		limits = s.opened.vault
	}
	var server *api.Server
	pages, err := portal.New(portal.Config{
		API:    http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { server.Handler().ServeHTTP(w, r) }),
		Logger: s.logger, Door: s.rtspAddr,
	})
	if err != nil {
		return nil, err
	}
	server, err = api.New(api.Config{
		Portal: pages, Verification: s.opened.verify, PlaybackDelay: o.playbackDelay, Limits: limits, Networks: s.opened.vault, TrustedProxies: o.trustedProxies,
		Accounts: u.Accounts, Devices: cameraDevices{u.Devices, s.upstreams, s.watch, s.alarms.changed}, Presence: presence{s.watch}, Shares: u.Shares, StreamKeys: streamKeys{u.StreamKeys, s.door},
		Cameras: newCameras(client, s.opened.vault, x, s.upstreams), Finder: finder{client, o.DeviceSearch, s.opened.vault.Alone}, PTZ: ptzAPI{s.desk, x}, WebRTC: webRTCOf(s.webrtc), Talk: talkAPI{s.mouth}, Packed: packedAPI{s.packed}, Playback: webPlayback{s.recorders}, Alarms: s.alarms,
		Firmware: o.firmware, Queries: s.opened.store, Access: x, Uses: lastUses{doorUses{s.opened.vault}}, Live: hub, Quotas: quotas{ledger},
		Sessions: sessions{s.opened.vault, ledger.Most(quota.Sessions), s.opened.sessionEnded}, Invitations: o.invitationsOf(s.opened.vault), Registration: o.registration, Unused: s.opened.vault, LoginLinks: o.loginLinks(), Opener: opener{s.opened.vault},
		Fence: fences{x, cuts{s.door, s.webrtc, s.upstreams, s.desk, s.alarms.Sends}, s.journal}, Progress: runner,
		Components: []api.Component{
			{Name: "log", State: s.opened.logState.State, Reason: s.opened.logState.Reason},
			{Name: "database", State: answersTo(s.opened.vault.Ping), Reason: func() string { return "The vault's database does not respond, or accepts no writes." }},
			{Name: "projections", State: runner.State, Reason: func() string { return runner.Health().Reason }},
			indexState(x),
			{Name: "descriptors", State: s.descriptors, Reason: func() string {
				return "Few file descriptors are left: only commands that revoke something are accepted."
			}},
			{Name: "journal", State: func(context.Context) (string, bool) { return s.journal.State() }},
			{Name: "door", State: func(context.Context) (string, bool) { return "open", true }}, // otherwise the process has ended
		},
		Root: s.certificates.root(), Logger: s.logger, Metrics: metrics, PrivateMetrics: private, SessionTTL: o.sessionTTL, Away: engine.Unavailable,
		MaxConnections: o.connections,
	})
	return server, err
}

func indexState(x *access.Index) api.Component {
	reason := func() string { return x.Health().Reason }
	return api.Component{
		Name: "index", State: func(context.Context) (string, bool) { h := x.Health(); return h.State, h.Ready() },
		Reason: reason, Notice: reason,
	}
}

func (s *runningService) descriptors(context.Context) (string, bool) {
	if s.opened.descriptors.Few() {
		return "few", false
	}
	return "ok", true
}

// answersTo is the state of something that either responds or does not.
func answersTo(ping func(context.Context) error) func(context.Context) (string, bool) {
	return func(ctx context.Context) (string, bool) {
		if ping(ctx) != nil {
			return "unavailable", false
		}
		return "ok", true
	}
}

// registerProjectionMetrics registers one gauge for each read model, as their names are
// known.
func registerProjectionMetrics(r prometheus.Registerer, runner *projections.Runner) {
	for _, name := range projections.Names() {
		model := func() engine.ModelHealth { return runner.Health().Model(name) }
		labels := prometheus.Labels{"projection": name}
		r.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "latchkey_projection_behind_positions", ConstLabels: labels,
				Help: "Log positions between the last event and the last one in the read model.",
			}, func() float64 { return float64(model().Behind) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "latchkey_projection_failed", ConstLabels: labels, Help: "1 while the read model is stopped, else 0.",
			}, func() float64 { return oneIf(model().Err != nil) }),
		)
	}
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "latchkey_projections_ready", Help: "1 while every read model is up to date, else 0."},
			func() float64 { return oneIf(runner.Health().Ready) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "latchkey_projections_rebuilding", Help: "1 while read models are rebuilt from a restored log, else 0."},
			func() float64 { return oneIf(runner.Health().State == "rebuilding") }),
	)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func secondsBehind(h access.Health) float64 {
	if !h.Ready() && h.State != "stale" {
		return math.Inf(1)
	}
	return h.Behind.Seconds()
}

func registerIndexMetrics(r prometheus.Registerer, x *access.Index) {
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "latchkey_index_position", Help: "Position in the log that the privilege index has reached."},
			func() float64 { return float64(x.Health().Position) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "latchkey_index_behind_seconds", Help: "Time since the privilege index was known to be up to date; +Inf while unknown."},
			func() float64 { return secondsBehind(x.Health()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "latchkey_index_live", Help: "1 while the privilege index is live, else 0."},
			func() float64 { return oneIf(x.Health().Ready()) }),
	)
}
