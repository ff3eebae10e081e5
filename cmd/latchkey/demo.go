package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"latchkey/internal/simcamera"
)

// demoCommand runs the service with a simulated camera and performs the main job as its
// users would, over the REST API.
type demoCommand struct {
	Data string `placeholder:"DIR" help:"Folder to keep the demo in. Without it: a temporary one that is removed at the end."`
	HTTP string `name:"http" default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address of the REST API (${default})."`
	RTSP string `name:"rtsp" default:"127.0.0.1:8554" placeholder:"ADDR" help:"Address of the RTSP door (${default})."`

	WebRTC string `name:"webrtc" placeholder:"ADDR" help:"Address of the UDP port of live view in browsers; off: none. Without it: 127.0.0.1:8189, or another port there if that is taken."`

	Metrics string `placeholder:"ADDR" help:"Address of metrics and of the details of readiness, for operators; off: none. Without it: 127.0.0.1:9464, or another port there if that is taken."`

	LogLevel  string `default:"warn" placeholder:"LEVEL" help:"debug, info, warn or error (${default})."`
	LogFormat string `default:"text" placeholder:"FORMAT" help:"text or json (${default})."`
}

// person is an account of the demo.
type person struct {
	Login    string `json:"login"`
	Password string `json:"password"`
}

// cast are the people and things of the demo; it is kept in the data folder so that the
// demo can be started on the same folder again.
type cast struct {
	Owner          person `json:"owner"`
	Recipient      person `json:"recipient"`
	Serial         string `json:"serial"`
	CameraPassword string `json:"camera_password"`
	Key            string `json:"key,omitempty"`
	Secret         string `json:"secret,omitempty"`
}

// readyLine is printed on standard output once the stream plays.
type readyLine struct {
	Ready     bool   `json:"ready"`
	HTTP      string `json:"http"`
	RTSP      string `json:"rtsp"`
	Owner     person `json:"owner"`
	Recipient person `json:"recipient"`
	Device    string `json:"device"`
	Watch     string `json:"watch"`
	// Links log in once, and lead to the live page.
	OwnerLink     string `json:"owner_link"`
	RecipientLink string `json:"recipient_link"`
}

// Run performs the main job and then serves until the context ends.
func (c *demoCommand) Run(ctx context.Context, std streams) (err error) {
	if c.Data == "" {
		if c.Data, err = os.MkdirTemp("", "latchkey-demo-"); err != nil {
			return fmt.Errorf("creating a folder for the demo: %w", err)
		}
		defer os.RemoveAll(c.Data)
	}
	s := settings{
		Data: c.Data, HTTP: c.HTTP, RTSP: c.RTSP, WebRTC: c.WebRTC, Metrics: c.Metrics, Eventstore: "embedded", Database: "sqlite",
		People: People{Registration: "open", Verification: off}, MaxStaleness: "5s", SessionTTL: "720h", CloseAfter: "10s", MemoryLimit: "auto", CameraNets: anyNetwork, DeviceProof: proofRequired,
		Logging: Logging{LogLevel: c.LogLevel, LogFormat: c.LogFormat},
	}
	o, err := s.check()
	if err != nil {
		return err
	}
	o.senders = printingSenders(std.err)
	o.strangers = false // the demo's own camera is on loopback, even if others can reach the API
	if err := s.makeDataDir(s.logger(std)); err != nil {
		return err
	}
	roles, err := loadCast(filepath.Join(c.Data, "demo.json"))
	if err != nil {
		return err
	}
	logger := s.logger(std)
	cam, err := simcamera.Start(ctx, simcamera.Config{RTSP: "127.0.0.1:0", Username: "admin", Password: roles.CameraPassword, Serial: roles.Serial, Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cam.Close()) }()
	links := &loginLinks{}
	o.links = links
	svc, err := startService(ctx, o, logger)
	if err != nil {
		return err
	}
	show := demo{cast: roles, api: newAPIClient(svc.httpAddr()), links: links, tell: func(format string, args ...any) { fmt.Fprintf(std.err, format+"\n", args...) }}
	line, err := show.play(ctx, cam.RTSPAddr(), svc.rtspAddr())
	if err != nil {
		return errors.Join(fmt.Errorf("showing the main job: %w", err), svc.stop())
	}
	if err := saveCast(filepath.Join(c.Data, "demo.json"), show.cast); err != nil {
		return errors.Join(err, svc.stop())
	}
	out, err := json.Marshal(line)
	if err != nil {
		return errors.Join(err, svc.stop())
	}
	fmt.Fprintf(std.out, "%s\n", out)
	show.farewell(line)
	return svc.wait(ctx)
}

func loadCast(path string) (cast, error) {
	c := cast{
		Owner:          person{"owner@demo.example", rand.Text()[:16]},
		Recipient:      person{"recipient@demo.example", rand.Text()[:16]},
		Serial:         "demo-camera",
		CameraPassword: rand.Text()[:16],
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, saveCast(path, c)
	}
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return c, fmt.Errorf("reading the demo's accounts: %w", err)
	}
	return c, nil
}

func saveCast(path string, c cast) error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(raw, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("saving the demo's accounts: %w", err)
	}
	return nil
}

// demo performs the main job. Steps done by an earlier run on the same folder are
// skipped.
type demo struct {
	cast cast
	api  *apiClient
	// links is nil if nobody may log in by a link.
	links *loginLinks
	tell  func(format string, args ...any)
}

func (d *demo) play(ctx context.Context, cameraAddr, doorAddr string) (*readyLine, error) {
	d.tell("1. Two accounts: %s and %s.", d.cast.Owner.Login, d.cast.Recipient.Login)
	owner, err := d.login(ctx, d.cast.Owner, "Olga Owner")
	if err != nil {
		return nil, err
	}
	recipient, err := d.login(ctx, d.cast.Recipient, "Rita Recipient")
	if err != nil {
		return nil, err
	}
	d.tell("2. The owner adds a camera.")
	device, err := d.addCamera(ctx, owner, cameraAddr)
	if err != nil {
		return nil, err
	}
	d.tell("3. The owner shares it, live view only; the recipient accepts.")
	if err := d.share(ctx, owner, recipient, device); err != nil {
		return nil, err
	}
	d.tell("4. The recipient makes a stream key for a player.")
	if err := d.streamKey(ctx, recipient); err != nil {
		return nil, err
	}
	watch := url.URL{Scheme: "rtsp", User: url.UserPassword(d.cast.Key, d.cast.Secret), Host: doorAddr, Path: "/" + device + "/1"}
	d.links.api = d.api
	return &readyLine{
		OwnerLink: d.links.add(d.cast.Owner), RecipientLink: d.links.add(d.cast.Recipient),
		Ready: true, HTTP: "http://" + d.api.host, RTSP: "rtsp://" + doorAddr,
		Owner: d.cast.Owner, Recipient: d.cast.Recipient, Device: device, Watch: watch.String(),
	}, nil
}

func (d *demo) farewell(line *readyLine) {
	d.tell("5. It plays. Watch it in any RTSP player:\n\n     ffplay -rtsp_transport tcp %s\n", line.Watch)
	d.tell("   Open it in a browser. Each link works once and logs in, so take a private window for the other one:\n\n     the owner      %s\n     the recipient  %s\n", line.OwnerLink, line.RecipientLink)
	d.tell("   Or log in at %s as %s or %s; the passwords are above.\n", line.HTTP+"/", line.Owner.Login, line.Recipient.Login)
	d.tell("   Take it back, and the player ends at once:\n")
	d.tell(`     token=$(curl -s %s/api/v1/sessions -H 'Content-Type: application/json' -d '{"login":"%s","password":"%s"}' | sed 's/.*"token":"\([^"]*\)".*/\1/')`, line.HTTP, line.Owner.Login, line.Owner.Password)
	d.tell(`     share=$(curl -s %s/api/v1/shares/sent -H "Authorization: Bearer $token" | sed 's/.*"id":"\([^"]*\)".*/\1/')`, line.HTTP)
	d.tell(`     curl -i -X DELETE %s/api/v1/shares/$share -H "Authorization: Bearer $token"`+"\n", line.HTTP)
	d.tell("   Ctrl-C ends the demo.")
}

func (d *demo) login(ctx context.Context, p person, name string) (token string, err error) {
	err = d.api.do(ctx, "POST", "/accounts", "", map[string]any{"email": p.Login, "password": p.Password, "name": name}, nil)
	if err != nil && !hasCode(err, "login_taken") {
		return "", err
	}
	var session struct{ Token string }
	err = d.api.do(ctx, "POST", "/sessions", "", p, &session)
	return session.Token, err
}

func (d *demo) addCamera(ctx context.Context, owner, addr string) (string, error) {
	var list struct {
		Items []struct{ ID, Serial string }
	}
	if err := d.api.do(ctx, "GET", "/devices", owner, nil, &list); err != nil {
		return "", err
	}
	// The simulated camera has another port on each start: add it again.
	for _, item := range list.Items {
		if err := d.api.do(ctx, "DELETE", "/devices/"+url.PathEscape(item.ID), owner, nil, nil); err != nil {
			return "", err
		}
	}
	var added struct{ ID string }
	err := d.api.do(ctx, "POST", "/devices", owner, map[string]any{
		"name": "Front door", "serial": d.cast.Serial, "rtsp_url": "rtsp://" + addr + "/Streaming/Channels/101",
		"username": "admin", "password": d.cast.CameraPassword,
	}, &added)
	return added.ID, err
}

func (d *demo) share(ctx context.Context, owner, recipient, device string) error {
	var share struct{ ID string }
	err := d.api.do(ctx, "POST", "/shares", owner, map[string]any{
		"recipient": map[string]any{"email": d.cast.Recipient.Login}, "remark": "The neighbour",
		"devices": []any{map[string]any{"device": device, "channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}},
	}, &share)
	if err != nil {
		return err
	}
	return d.api.do(ctx, "POST", "/shares/"+share.ID+"/devices/"+url.PathEscape(device)+"/accept", recipient, nil, nil)
}

func (d *demo) streamKey(ctx context.Context, recipient string) error {
	if d.cast.Secret != "" {
		return nil
	}
	var key struct{ Name, Secret string }
	if err := d.api.do(ctx, "POST", "/stream-keys", recipient, map[string]any{"label": "Demo player"}, &key); err != nil {
		return err
	}
	d.cast.Key, d.cast.Secret = key.Name, key.Secret
	return nil
}

// demoTimeout limits each call of the demo.
const demoTimeout = 20 * time.Second
