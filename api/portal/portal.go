package portal

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Config configures a Portal. Fields without a default are required.
type Config struct {
	API    http.Handler // the REST API
	Logger *slog.Logger
	Now    func() time.Time // the default is time.Now
	// Door returns the address of the RTSP door, whose port is in the addresses for
	// players; the default is port 8554.
	Door func() string

	// Pseudo adds a language for tests, in which each word of the portal is marked.
	Pseudo bool
}

// Portal is the http.Handler of the pages. It is safe for concurrent use.
type Portal struct {
	cfg       Config
	mux       *http.ServeMux
	forged    *http.CrossOriginProtection
	assets    assets
	languages []*language // the first is the default
}

// New makes a portal.
func New(cfg Config) (*Portal, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Door == nil {
		cfg.Door = func() string { return ":8554" }
	}
	if cfg.API == nil || cfg.Logger == nil {
		return nil, errors.New("making the portal: API and Logger are required")
	}
	p := &Portal{cfg: cfg, mux: http.NewServeMux(), forged: http.NewCrossOriginProtection()}
	var err error
	if p.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("making the portal: %w", err)
	}
	if p.languages, err = loadLanguages(); err != nil {
		return nil, fmt.Errorf("making the portal: %w", err)
	}
	if !cfg.Pseudo {
		p.languages = p.languages[:len(languageTags)]
	}
	p.routes()
	return p, nil
}

// home is the page that follows a log-in.
const home = "/live"

// sections are the entries of the bar, in their order; each has a page of its own.
var sections = []section{
	{Name: "live", Path: "/live"},
	{Name: "received", Path: "/shared-with-me"},
	{Name: "sent", Path: "/my-shares"},
	{Name: "devices", Path: "/devices"},
	{Name: "alarms", Path: "/alarms"},
	{Name: "account", Path: "/account"},
}

// section is a part of the portal. Its words are nav.<name>, its icon has the name.
type section struct{ Name, Path string }

func (p *Portal) routes() {
	p.mux.HandleFunc("GET "+p.assets.prefix, p.serveAsset)
	p.mux.HandleFunc("GET /favicon.ico", p.serveIcon)
	p.mux.HandleFunc("GET /sw.js", p.serveWorker)
	p.mux.HandleFunc("GET /manifest.webmanifest", p.serveManifest)

	p.open("GET /{$}", showRoot)
	p.open("GET /login", showLogin)
	p.open("POST /login", logIn)
	p.open("POST /logout", logOut)
	p.open("GET /register", showRegister)
	p.open("POST /register", register)
	p.open("GET /enter", showEnter)
	p.open("POST /enter", enter)
	p.open("GET /setup", showSetup)
	p.open("POST /setup", setUp)
	p.private("GET /setup/camera", showSetupCamera)
	p.private("POST /setup/camera", addSetupCamera)
	p.private("GET /setup/share", showSetupShare)
	p.private("POST /setup/share", makeSetupShare)
	p.open("GET /reset", showReset)
	p.open("POST /reset", requestReset)
	p.open("GET /reset/code", showResetCode)
	p.open("POST /reset/code", confirmReset)
	p.open("GET /invite", showInvite)
	p.open("POST /invite", redeem)
	p.open("POST /preferences", setPreferences)

	p.private("GET /live", showLive)
	p.private("GET /live/{device}/{channel}", showCamera)
	p.private("GET /register/code", showVerify)
	p.private("POST /register/code", verify)
	p.private("POST /register/code/send", sendCode)
	p.private("GET /shared-with-me", showReceived)
	p.private("POST /shared-with-me", decide)
	p.private("GET /shared-with-me/{share}/{device}", showReceivedDevice)
	p.private("POST /shared-with-me/{share}/{device}", setDomain)
	p.private("GET /shared-with-me/{share}/{device}/delete", askLeave)
	p.private("POST /shared-with-me/{share}/{device}/delete", leave)

	p.private("GET /my-shares", showSent)
	p.private("GET /my-shares/new", showNewShare)
	p.private("POST /my-shares/new", createShare)
	p.private("POST /my-shares/summary", summarize)
	p.private("GET /my-shares/codes", showCodes)
	p.private("POST /my-shares/codes", revokeCode)
	p.private("GET /my-shares/access", showEveryWay)
	p.private("GET /my-shares/{share}", showShare)
	p.private("POST /my-shares/{share}", saveShare)
	p.private("POST /my-shares/{share}/pause", pause)
	p.private("GET /my-shares/{share}/delete", askEnd)
	p.private("POST /my-shares/{share}/delete", end)

	p.private("GET /devices", showDevices)
	p.private("POST /devices", addDevice)
	p.private("GET /devices/new", showNewDevice)
	p.private("POST /devices/new", addNewDevice)
	p.private("GET /devices/new/addresses", showDeviceAddresses)
	p.private("GET /devices/requests", showRequests)
	p.private("POST /devices/requests", decideRequest)
	p.private("POST /devices/requests/access", askAccess)
	p.private("GET /devices/{device}/transfer", showTransfer)
	p.private("POST /devices/{device}/transfer", offerTransfer)
	p.private("GET /devices/{device}", showDevice)
	p.private("POST /devices/{device}", renameDevice)
	p.private("POST /devices/{device}/connection", connectDevice)
	p.private("POST /devices/{device}/viewers", endViewer)
	p.private("GET /devices/{device}/access", showAccess)
	p.private("POST /devices/{device}/access", endAccess)
	p.private("GET /devices/{device}/alarms", showReceiver)
	p.private("POST /devices/{device}/alarms", setReceiver)
	p.private("GET /devices/{device}/delete", askRemove)
	p.private("POST /devices/{device}/delete", removeDevice)

	p.private("GET /alarms", showAlarms)
	p.private("POST /alarms", markAlarms)
	p.private("POST /alarms/browsers", removeBrowser)
	p.private("GET /alarms/{alarm}", showAlarm)

	p.private("GET /account", showAccount)
	p.private("POST /account", updateAccount)
	p.private("POST /account/password", changePassword)
	p.private("POST /account/sessions", endSessions)
	p.private("POST /account/notices", setNotices)
	p.private("GET /account/addresses", showAddresses)
	p.private("POST /account/addresses", addAddress)
	p.private("POST /account/addresses/{address}", changeAddress)
	p.private("GET /account/addresses/{address}/delete", askRemoveAddress)
	p.private("POST /account/addresses/{address}/delete", removeAddress)
	p.private("GET /account/close", askClose)
	p.private("POST /account/close", closeAccount)
	p.private("GET /account/webhook", showWebhook)
	p.private("POST /account/webhook", setWebhook)
	p.private("GET /account/keys", showKeys)
	p.private("POST /account/keys", makeKey)
	p.private("GET /account/keys/{key}/delete", askRevoke)
	p.private("POST /account/keys/{key}/delete", revokeKey)

	p.private("GET /playback/{device}/{channel}", showPlayback)

	for _, operation := range relays {
		p.relay(operation)
	}

	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.visit(w, r).fail(errNoPage) // a form that does not exist needs no token
	})
}

// relays are the operations of the API that scripts of pages may call.
var relays = []string{
	"GET /devices/{device}/channels/{channel}/snapshot",
	"POST /device-checks",
	"POST /device-searches",
	"GET /devices/{device}/channels/{channel}/streams",
	"POST /devices/{device}/channels/{channel}/whep",
	"POST /devices/{device}/channels/{channel}/whip",
	"GET /devices/{device}/channels/{channel}/talk",
	"DELETE /webrtc/{viewer}",
	"GET /devices/{device}/channels/{channel}/ptz/status",
	"GET /devices/{device}/channels/{channel}/ptz/presets",
	"POST /devices/{device}/channels/{channel}/ptz/presets/{preset}/goto",
	"POST /devices/{device}/channels/{channel}/ptz/move",
	"POST /devices/{device}/channels/{channel}/ptz/stop",
	"DELETE /devices/{device}/channels/{channel}/ptz",
	"GET /devices/{device}/viewers",
	"GET /devices/{device}/channels/{channel}/mse",
	"POST /devices/{device}/channels/{channel}/hls",
	"GET /hls/{viewer}/{file}",
	"DELETE /hls/{viewer}",
	"GET /privileges",
	"GET /privileges/check",
	"GET /devices/{device}/channels/{channel}/playback",
	"GET /events",
	"POST /accounts/me/push-subscriptions",
}

// handler answers one request of a browser. An error becomes a page.
type handler func(*visit) error

// open adds a page for everybody.
func (p *Portal) open(pattern string, h handler) {
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := p.visit(w, r)
		v.answer(h)
	})
}

// private adds a page for those who have logged in; others are sent to the log-in.
func (p *Portal) private(pattern string, h handler) {
	p.open(pattern, func(v *visit) error {
		if v.token == "" {
			return errLoggedOut
		}
		return h(v)
	})
}

// contentPolicy lets a page load what the portal itself serves, and nothing else; blob: is what
// a script makes for a video.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; media-src 'self' blob:; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// ServeHTTP serves the portal.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, browsers send forms with the origin null
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "microphone=(self), camera=(), geolocation=(), display-capture=()")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Cookie, Accept-Language")
	h.Del("Connection") // bodies are read here
	if err := p.forged.Check(r); err != nil && !strings.HasPrefix(r.URL.Path, RelayPath+"/") {
		p.visit(w, r).fail(errForged)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// accepts reports whether a browser asks for a page.
func accepts(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }
