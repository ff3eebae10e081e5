package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"latchkey/api"
	"latchkey/domain/device"
	"latchkey/domain/ids"
	"latchkey/domain/privilege"
	"latchkey/eventstore"
	"latchkey/internal/app"
	"latchkey/internal/audit"
	"latchkey/internal/vault"
	"latchkey/projections"
	"latchkey/projections/access"
	streamingdevice "latchkey/streaming/device"
	"latchkey/streaming/rtsp"
	"latchkey/streaming/upstream"
)

// Packages declare what they need and do not know each other; the types here adapt one to
// the other.

// appLog is the log for the use cases. fit, if set, reports whether it is still the log
// that the privileges were read from, and whether they have room.
type appLog struct {
	client *eventstore.Client
	fit    *access.Index
}

func (l appLog) Load(ctx context.Context, stream string, from int64) ([]app.Stored, error) {
	var list []app.Stored
	err := l.client.LoadFrom(ctx, stream, uint64(from), func(r eventstore.Recorded) error {
		stored, err := storedOf(r)
		list = append(list, stored)
		return err
	})
	if errors.Is(err, eventstore.ErrStreamNotFound) {
		return nil, nil
	}
	return list, err
}

// Life changes with the connection: a log is only replaced between two.
func (l appLog) Life() uint64 { return l.client.Connections() }

func (l appLog) LoadBack(ctx context.Context, stream string, until func(e app.Stored, read int) bool) ([]app.Stored, error) {
	events, err := l.client.LoadBack(ctx, stream, func(r eventstore.Recorded, read int) bool {
		stored, err := storedOf(r)
		return err != nil || until(stored, read) // the error is found below
	})
	if errors.Is(err, eventstore.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]app.Stored, len(events))
	for i, r := range events {
		if list[i], err = storedOf(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (l appLog) First(ctx context.Context, stream string) (app.Stored, bool, error) {
	return one(l.client.First(ctx, stream))
}

func (l appLog) Last(ctx context.Context, stream string) (app.Stored, bool, error) {
	return one(l.client.Last(ctx, stream))
}

func one(r eventstore.Recorded, err error) (app.Stored, bool, error) {
	if errors.Is(err, eventstore.ErrStreamNotFound) {
		return app.Stored{}, false, nil
	}
	if err != nil {
		return app.Stored{}, false, err
	}
	stored, err := storedOf(r)
	return stored, err == nil, err
}

func storedOf(r eventstore.Recorded) (app.Stored, error) {
	if r.Revision > math.MaxInt64 {
		return app.Stored{}, fmt.Errorf("revision %d of stream %s is out of bounds", r.Revision, r.Stream)
	}
	return app.Stored{ID: r.ID, Revision: int64(r.Revision), Position: r.Position, Type: r.Type, Data: r.Data, Metadata: r.Metadata}, nil
}

// Append refuses a log from which events that the privileges saw are missing, before and
// after it writes: the node may have restarted on an older folder in between.
func (l appLog) Append(ctx context.Context, stream string, expected int64, events []app.Pending) (eventstore.Position, error) {
	if l.fit == nil {
		return l.append(ctx, stream, expected, events)
	}
	if err := l.fit.Fit(); err != nil {
		return 0, fmt.Errorf("%w: %w", app.ErrDiverged, err)
	}
	if l.fit.Full() && slices.ContainsFunc(events, func(e app.Pending) bool { return access.TakesNumber(e.Type) }) {
		return 0, fmt.Errorf("appending to %s: %w", stream, app.ErrIndexFull)
	}
	before := l.fit.Position()
	position, err := l.append(ctx, stream, expected, events)
	if err != nil {
		return position, err
	}
	if err := l.fit.Appended(ctx, before, position); err != nil {
		return 0, fmt.Errorf("%w: %w", app.ErrDiverged, err)
	}
	return position, nil
}

func (l appLog) append(ctx context.Context, stream string, expected int64, events []app.Pending) (eventstore.Position, error) {
	revision := eventstore.NoStream()
	if expected >= 0 {
		revision = eventstore.Exactly(uint64(expected))
	}
	if !slices.ContainsFunc(events, func(e app.Pending) bool { return !e.TakesAway }) {
		ctx = eventstore.WithReserve(ctx)
	}
	list := make([]eventstore.Event, len(events))
	for i, e := range events {
		list[i] = eventstore.Event{ID: e.ID, Type: e.Type, Data: e.Data, Metadata: e.Metadata}
	}
	done, err := l.client.Append(ctx, stream, revision, list...)
	switch {
	case errors.Is(err, eventstore.ErrConflict):
		err = fmt.Errorf("%w: %w", app.ErrConflict, err)
	case errors.Is(err, eventstore.ErrTooLarge):
		err = fmt.Errorf("%w: %w", app.ErrTooLarge, err)
	case errors.Is(err, eventstore.ErrFull):
		err = fmt.Errorf("%w: %w", app.ErrFull, err)
	}
	return done.Position, err
}

// cameraVault stores cameras for the use cases.
type cameraVault struct{ vault *vault.Vault }

func (c cameraVault) SetCamera(ctx context.Context, device string, cam app.Camera) error {
	return c.vault.SetCamera(ctx, device, vaultCamera(cam))
}

func (c cameraVault) HasCamera(ctx context.Context, device string) (bool, error) {
	return c.vault.HasCamera(ctx, device)
}

func (c cameraVault) Camera(ctx context.Context, device string) (app.Camera, bool, error) {
	cam, err := c.vault.Camera(ctx, device)
	if errors.Is(err, vault.ErrNotFound) {
		return app.Camera{}, false, nil
	}
	if err != nil {
		return app.Camera{}, false, err
	}
	out := app.Camera{Username: cam.Username, Password: cam.Password, ISAPIURL: cam.ISAPIURL, ONVIFURL: cam.ONVIFURL, Certificate: cam.Certificate}
	for _, ch := range cam.Channels {
		out.Channels = append(out.Channels, app.CameraChannel(ch))
	}
	return out, true, nil
}

func (c cameraVault) ForgetCamera(ctx context.Context, device string) error {
	return c.vault.ForgetCamera(ctx, device)
}

func (c cameraVault) StageCamera(ctx context.Context, device, command string, cam app.Camera) error {
	return c.vault.StageCamera(ctx, device, command, vaultCamera(cam))
}

func (c cameraVault) ConfirmCamera(ctx context.Context, device, command string) (bool, error) {
	err := c.vault.ConfirmCamera(ctx, device, command)
	if errors.Is(err, vault.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (c cameraVault) DropStaged(ctx context.Context, device, command string) error {
	return c.vault.DropStaged(ctx, device, command)
}

func vaultCamera(cam app.Camera) vault.Camera {
	v := vault.Camera{Username: cam.Username, Password: cam.Password, ISAPIURL: cam.ISAPIURL, ONVIFURL: cam.ONVIFURL, Certificate: cam.Certificate}
	for _, ch := range cam.Channels {
		v.Channels = append(v.Channels, vault.CameraChannel(ch))
	}
	return v
}

// requests remembers Idempotency-Keys for the use cases.
type requests struct{ vault *vault.Vault }

func (r requests) ClaimRequest(ctx context.Context, claim app.Request, now time.Time) (app.Request, bool, error) {
	there, mine, err := r.vault.ClaimRequest(ctx, vault.Request(claim), now)
	return app.Request(there), mine, err
}

func (r requests) FindRequest(ctx context.Context, key string) (app.Request, bool, error) {
	there, found, err := r.vault.FindRequest(ctx, key)
	return app.Request(there), found, err
}

func (r requests) FinishRequest(ctx context.Context, done app.Request) error {
	return r.vault.FinishRequest(ctx, vault.Request(done))
}

func (r requests) ReleaseRequest(ctx context.Context, claim app.Request) error {
	return r.vault.ReleaseRequest(ctx, vault.Request(claim))
}

// streamSecrets stores the secrets of stream keys for the use cases.
type streamSecrets struct{ vault *vault.Vault }

func (s streamSecrets) SetStreamSecret(ctx context.Context, key, secret string) error {
	return s.vault.SetStreamSecret(ctx, key, secret)
}

func (s streamSecrets) StreamSecret(ctx context.Context, key string) (string, error) {
	return s.vault.StreamSecret(ctx, key)
}

func (s streamSecrets) ForgetStreamSecret(ctx context.Context, key string) error {
	return s.vault.ForgetStreamSecret(ctx, key)
}

// cameraSources returns the addresses of cameras' streams.
type cameraSources struct{ vault *vault.Vault }

func (c cameraSources) Camera(ctx context.Context, device ids.Device, channel int, q upstream.Quality) (upstream.Source, error) {
	cam, err := c.vault.Camera(ctx, string(device))
	if errors.Is(err, vault.ErrNotFound) {
		return upstream.Source{}, upstream.ErrNoCamera
	}
	if err != nil {
		return upstream.Source{}, err
	}
	for _, ch := range cam.Channels {
		if ch.Channel != channel {
			continue
		}
		url := ch.MainURL
		if q == upstream.Sub {
			url = ch.SubURL
		}
		if url == "" {
			break
		}
		return upstream.Source{URL: url, Username: cam.Username, Password: cam.Password, Certificate: cam.Certificate}, nil
	}
	return upstream.Source{}, upstream.ErrNoStream
}

// cameraDevices are the use cases of devices, refusing our own addresses as cameras.
type cameraDevices struct {
	*app.Devices
	upstreams *upstream.Pool
	watch     *streamingdevice.Watch
	changed   func(ctx context.Context, device string, at eventstore.Position) // for its alarms
}

func (c cameraDevices) Add(ctx context.Context, m app.Meta, d app.NewDevice) (app.DeviceAdded, error) {
	if err := c.refuseOwnOf(d); err != nil {
		return app.DeviceAdded{}, err
	}
	done, err := c.Devices.Add(ctx, m, d)
	if err == nil && !done.Unproven {
		c.watch.Report(done.Device.Device, "")
	}
	if err == nil {
		c.changed(ctx, done.Device.Device, done.Position)
	}
	return done, err
}

// StartReclaim is the use case's.
func (c cameraDevices) StartReclaim(ctx context.Context, m app.Meta, d app.NewDevice) (app.Reclaimed, error) {
	if err := c.refuseOwnOf(d); err != nil {
		return app.Reclaimed{}, err
	}
	return c.Devices.StartReclaim(ctx, m, d)
}

// CompleteReclaim is the use case's; a device that was asked responds.
func (c cameraDevices) CompleteReclaim(ctx context.Context, m app.Meta, claim string, d app.NewDevice) (app.DeviceChanged, error) {
	if err := c.refuseOwnOf(d); err != nil {
		return app.DeviceChanged{}, err
	}
	done, err := c.Devices.CompleteReclaim(ctx, m, claim, d)
	if err == nil {
		c.watch.Report(done.Device.Device, "")
		c.changed(ctx, done.Device.Device, done.Position)
	}
	return done, err
}

// refuseOwnOf is refuseOwn for a new device.
func (c cameraDevices) refuseOwnOf(d app.NewDevice) error {
	channels := make([]app.ChannelAddress, len(d.Channels))
	for i, ch := range d.Channels {
		channels[i] = app.ChannelAddress{Channel: ch.Channel, MainURL: ch.MainURL, SubURL: ch.SubURL}
	}
	return c.refuseOwn(d.RTSPURL, d.ISAPIURL, d.ONVIFURL, channels)
}

// AcceptTransfer is the use case's; the alarms of the device are listened to for its new
// owner.
func (c cameraDevices) AcceptTransfer(ctx context.Context, m app.Meta, transfer string) (app.DeviceChanged, error) {
	done, err := c.Devices.AcceptTransfer(ctx, m, transfer)
	if err == nil {
		c.changed(ctx, done.Device.Device, done.Position)
	}
	return done, err
}

// Refresh is the use case's; a device that was asked responds.
func (c cameraDevices) Refresh(ctx context.Context, m app.Meta, device string) (app.DeviceChanged, error) {
	done, err := c.Devices.Refresh(ctx, m, device)
	if err == nil {
		c.watch.Report(done.Device.Device, "")
	}
	return done, err
}

// SetCredentials is the use case's; then the streams of the device are pulled with them.
func (c cameraDevices) SetCredentials(ctx context.Context, m app.Meta, device string, n app.NewCredentials) (app.DeviceChanged, error) {
	if err := c.refuseOwn(n.RTSPURL, n.ISAPIURL, n.ONVIFURL, n.Channels); err != nil {
		return app.DeviceChanged{}, err
	}
	done, err := c.Devices.SetCredentials(ctx, m, device, n)
	if err == nil {
		c.upstreams.Redial(ids.Device(done.Device.Device))
		c.changed(ctx, done.Device.Device, done.Position)
		if !done.Unproven {
			c.watch.Report(done.Device.Device, "")
		}
	}
	return done, err
}

// refuseOwn refuses the addresses of this service itself.
func (c cameraDevices) refuseOwn(rtsp, isapi, onvif string, channels []app.ChannelAddress) error {
	fields := map[app.Field]string{}
	refuse := func(at app.Field, address string) {
		if c.upstreams.IsOwn(address) {
			fields[at] = "is an address of this service itself, not of a camera"
		}
	}
	refuse("rtsp_url", rtsp)
	refuse("isapi_url", isapi)
	refuse("onvif_url", onvif)
	for i, ch := range channels {
		at := app.Field("channels").Entry(i)
		refuse(at.Dot("main_url"), ch.MainURL)
		refuse(at.Dot("sub_url"), ch.SubURL)
	}
	if len(fields) > 0 {
		return &app.Error{
			Code: "invalid_body", Kind: app.Invalid, Fields: fields,
			Message: "A shared stream cannot be added as a camera.",
		}
	}
	return nil
}

// streamKeys are the use cases of stream keys, passing new secrets to the door.
type streamKeys struct {
	*app.StreamKeys
	door *rtsp.Door
}

func (s streamKeys) Add(ctx context.Context, m app.Meta, k app.NewStreamKey) (app.StreamKeyAdded, error) {
	done, err := s.StreamKeys.Add(ctx, m, k)
	if err == nil {
		s.door.Learn(ids.Key(done.Key.Name), done.Secret)
	}
	return done, err
}

// doorAccess is the privilege index for the door and the streams of cameras.
type doorAccess struct{ *access.Index }

func (a doorAccess) Resolve(account ids.Account, name string) (ids.Device, bool) {
	return a.Index.Resolve(account, device.Canonical(name)) // a domain has a canonical spelling, too
}

func (a doorAccess) Owner(device ids.Device) string {
	return strconv.FormatUint(uint64(a.Index.Owner(device)), 10)
}

// doorSecrets reads the secrets of stream keys for the door.
type doorSecrets struct{ vault *vault.Vault }

func (s doorSecrets) Secret(ctx context.Context, key ids.Key) (string, error) {
	secret, err := s.vault.StreamSecret(ctx, string(key))
	if errors.Is(err, vault.ErrNotFound) {
		// It was lost with a part of the vault. The key is useless, as if the player did
		// not know its secret; this is not an outage of the door.
		return rand.Text(), nil
	}
	return secret, err
}

// doorUses records for the door when devices are used.
type doorUses struct{ vault *vault.Vault }

func (u doorUses) Used(use access.Use, at time.Time) {
	u.vault.NoteStreamUse(vault.StreamUse{
		Device: string(use.Device), Account: string(use.Account), Key: string(use.StreamKey), Channel: use.Channel, Privileges: uint8(use.Privilege), At: at,
	})
}

// lastUses reads and records them for the API.
type lastUses struct{ doorUses }

func (u lastUses) LastUses(ctx context.Context, device string) ([]api.LastUse, error) {
	rows, err := u.vault.StreamUses(ctx, device)
	return lastUsesOf(rows), err
}

func (u lastUses) LastUsesBy(ctx context.Context, devices, accounts []string) ([]api.LastUse, error) {
	rows, err := u.vault.StreamUsesBy(ctx, devices, accounts)
	return lastUsesOf(rows), err
}

func lastUsesOf(rows []vault.StreamUse) []api.LastUse {
	list := make([]api.LastUse, len(rows))
	for i, r := range rows {
		list[i] = api.LastUse{Device: r.Device, Account: r.Account, Key: r.Key, Channel: r.Channel, Privileges: privilege.Set(r.Privileges) & privilege.All, At: r.At}
	}
	return list
}

// passwords stores passwords for the use cases.
type passwords struct {
	*vault.Vault
	ended func(context.Context) // is called after sessions have ended
}

func (p passwords) Apply(ctx context.Context, account, login, password string) error {
	err := p.Vault.Apply(ctx, account, login, password)
	if errors.Is(err, vault.ErrApplied) {
		return fmt.Errorf("%w: %w", app.ErrApplied, err)
	}
	return err
}

func (p passwords) PreparePassword(ctx context.Context, account, current, next string) (app.PasswordChange, error) {
	change, err := p.Vault.PreparePassword(ctx, account, current, next)
	if err != nil || change == nil {
		return nil, err
	}
	return passwordChange{change, p.ended}, nil
}

func (p passwords) PrepareReset(ctx context.Context, account, next string) (app.PasswordChange, error) {
	change, err := p.Vault.PrepareReset(ctx, account, next)
	if err != nil {
		return nil, err
	}
	return passwordChange{change, p.ended}, nil
}

type passwordChange struct {
	change *vault.PasswordChange
	ended  func(context.Context)
}

func (c passwordChange) Commit(ctx context.Context, s *app.NewSession) (string, error) {
	var session *vault.NewSession
	if s != nil {
		session = &vault.NewSession{TTL: s.TTL, Network: s.Network}
	}
	token, err := c.change.Commit(ctx, session)
	if errors.Is(err, vault.ErrPasswordChanged) {
		return "", fmt.Errorf("%w: %w", app.ErrPasswordChanged, err)
	}
	if err == nil {
		c.ended(ctx)
	}
	return token, err
}

// sessions keeps sessions for the API.
type sessions struct {
	vault *vault.Vault
	most  int                   // limit per account
	ended func(context.Context) // is called after a session has ended
}

func (s sessions) LogIn(ctx context.Context, who app.Candidates, password string, n app.NewSession) (account, token string, right bool, err error) {
	return s.vault.LogIn(ctx, vault.Candidates(who), password, vault.NewSession{TTL: n.TTL, Network: n.Network, Most: s.most})
}

func (s sessions) SessionsOf(ctx context.Context, account, token, network string) ([]api.SessionView, error) {
	rows, err := s.vault.SessionsOf(ctx, account, token, network)
	list := make([]api.SessionView, len(rows))
	for i, row := range rows {
		list[i] = api.SessionView(row)
	}
	return list, err
}

func (s sessions) EndSessionOf(ctx context.Context, account, id string) (bool, error) {
	ended, err := s.vault.EndSessionOf(ctx, account, id)
	if ended {
		s.ended(ctx)
	}
	return ended, err
}

func (s sessions) EndOtherSessions(ctx context.Context, account, token string) error {
	err := s.vault.EndOtherSessions(ctx, account, token)
	if err == nil {
		s.ended(ctx)
	}
	return err
}

func (s sessions) Session(ctx context.Context, token string) (string, error) {
	account, err := s.vault.Session(ctx, token)
	if errors.Is(err, vault.ErrNoSession) {
		return "", api.ErrNoSession
	}
	return account, err
}

func (s sessions) EndSession(ctx context.Context, token string) error {
	err := s.vault.EndSession(ctx, token)
	if err == nil {
		s.ended(ctx)
	}
	return err
}

// opener reads sealed text for the API.
type opener struct{ vault *vault.Vault }

func (o opener) Unseal(ctx context.Context, field, sealed string) (string, error) {
	plain, err := o.vault.Unseal(ctx, field, sealed)
	switch {
	case errors.Is(err, vault.ErrForgotten):
		return "", api.ErrForgotten
	case errors.Is(err, vault.ErrUnreadable):
		return "", api.ErrUnreadable
	}
	return plain, err
}

func (o opener) Keep() (version uint64, until time.Time) { return o.vault.Keep() }

// auditText reads sealed text for the history.
type auditText struct{ vault *vault.Vault }

func (a auditText) Unseal(ctx context.Context, field, sealed string) (string, error) {
	plain, err := a.vault.Unseal(ctx, field, sealed)
	switch {
	case errors.Is(err, vault.ErrForgotten):
		return "", audit.ErrForgotten
	case errors.Is(err, vault.ErrUnreadable):
		return "", audit.ErrUnreadable
	}
	return plain, err
}

// logins reads the logins of accounts once the read model has seen what it must.
type logins struct {
	runner *projections.Runner
	store  *projections.Store
}

func (l logins) LoginsOf(ctx context.Context, account string, atLeast eventstore.Position) (list []string, err error) {
	err = l.runner.Read(ctx, atLeast, func(atLeast eventstore.Position) error {
		list, err = l.store.LoginsOf(ctx, account, atLeast)
		return err
	})
	return list, err
}
