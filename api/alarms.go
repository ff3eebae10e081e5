package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/api/internal/rest"
	"latchkey/domain/device"
	"latchkey/internal/alarms"
	"latchkey/internal/alert"
	"latchkey/internal/position"
	"latchkey/projections"
)

// Alarms keeps the alarms of devices, and lets accounts know of them.
type Alarms interface {
	// List, Get, Acknowledge and AcknowledgeUpTo: see alarms.Desk.
	List(ctx context.Context, account string, q alarms.Query) ([]alarms.Copy, error)
	Get(ctx context.Context, account, id string) (alarms.Copy, error)
	Acknowledge(ctx context.Context, account, id string, seen bool) (alarms.Copy, error)
	AcknowledgeUpTo(ctx context.Context, account, id string, q alarms.Query) (int, error)
	// Listen: see alarms.Hub.
	Listen(ctx context.Context, account string, after *int64) (*alarms.Listener, error)
	// HideNumber and ShowNumber: see vault.Numbers. The number of an alarm counts those of
	// everybody, so that none leaves the service as it is.
	HideNumber(account string, number int64) string
	ShowNumber(account, hidden string) (int64, bool)
	// Begin begins to send an alarm: see alarms.Sends.
	Begin(ctx context.Context, account, device string, channel int, by string) (_ context.Context, end func(), err error)

	// The keys with which devices post their alarms; alarms.ErrNoReceiver.
	MakeReceiver(ctx context.Context, owner, device string) (alarms.Receiver, string, error)
	ReceiverOf(ctx context.Context, owner, device string) (alarms.Receiver, bool, error)
	RevokeReceiver(ctx context.Context, device string) (bool, error)
	Receive(ctx context.Context, key, contentType string, body io.Reader) error

	// Browsers that an account is notified on, as long as the session with the token lasts.
	// Check names what is wrong with one.
	CheckBrowser(b Browser) (field, why string)
	AddBrowser(ctx context.Context, account, token string, b Browser) (BrowserView, error)
	Browsers(ctx context.Context, account, token string) (list []BrowserView, publicKey string, err error)
	RemoveBrowser(ctx context.Context, account, id string) (bool, error)
}

// Browser is what a browser says of itself (W3C Push API).
type Browser struct{ Endpoint, P256DH, Auth string }

// BrowserView is a browser as its account sees it.
type BrowserView struct {
	ID      string
	Created time.Time
	Current bool // it was added with the session that asks
}

// receiverPath takes the alarms that devices post.
const receiverPath = "/api/v1/alarm-receivers/{key}"

const (
	// What a network may post: a site has many cameras.
	receiveEvery, receiveBurst = 10 * time.Millisecond, 2000
	// Keys that nobody has: they are guesses, or of a camera that was not set up again.
	strangerEvery, strangerBurst = time.Second, 60
)

func (s *Server) noAlarms() error {
	if s.cfg.Alarms != nil {
		return nil
	}
	return unavailable("unavailable", "Alarms are not kept on this server.", nil)
}

func noSuchAlarm() *problem {
	return &problem{status: http.StatusNotFound, code: "alarm_not_found", detail: "There is no such alarm, or you may not see it."}
}

func noReceiver() *problem {
	return &problem{status: http.StatusNotFound, code: "alarm_receiver_not_found", detail: "There is no such key for the alarms of a device."}
}

// alarmProblem is what an error of Alarms is to the caller.
func alarmProblem(err error) error {
	switch {
	case errors.Is(err, alarms.ErrNoAlarm):
		return noSuchAlarm()
	case errors.Is(err, alarms.ErrNoReceiver):
		return noReceiver()
	case errors.Is(err, alarms.ErrUnknown):
		return unavailable("unavailable", "It is not known at the moment what is permitted.", err)
	case errors.Is(err, alert.ErrTooLarge):
		return &problem{
			status: http.StatusRequestEntityTooLarge, code: "body_too_large",
			detail: "There is no notification of an event in the first " + strconv.Itoa(alert.MaxBody>>20) + " MiB of the body.",
		}
	case errors.Is(err, alert.ErrUnreadable):
		return malformed("The body is not a notification of an event.", nil)
	}
	return err
}

// alarmList has its newest row first.
var alarmList = projections.NewestFirst("alarms", func(a alarms.Copy) int64 { return a.Seq })

// ListAlarms lists the alarms that the caller may know of now.
func (h handlers) ListAlarms(ctx context.Context, r rest.ListAlarmsRequestObject) (rest.ListAlarmsResponseObject, error) {
	if err := h.noAlarms(); err != nil {
		return nil, err
	}
	if err := h.indexAt(ctx, r.Params.LatchkeyMinPosition); err != nil {
		return nil, err
	}
	q := alarms.Query{Device: device.Canonical(r.Params.Device), Channel: r.Params.Channel, Acknowledged: r.Params.Acknowledged, From: r.Params.From, To: r.Params.To}
	rows, next, err := list(ctx, h, "", page(r.Params.Limit, r.Params.Cursor), func(ctx context.Context, account string, p projections.Page) ([]alarms.Copy, string, error) {
		return h.alarmPage(account, p, func(before, n int64) ([]alarms.Copy, error) {
			q.Before, q.Most = before, int(n)
			return h.cfg.Alarms.List(ctx, account, q)
		})
	})
	if err != nil {
		return nil, alarmProblem(err)
	}
	items := make([]rest.Alarm, len(rows))
	for i, row := range rows {
		items[i] = alarmView(row)
	}
	return rest.ListAlarms200JSONResponse{Items: items, Next: next}, nil
}

// alarmPage reads a page. Its cursor is the hidden number of its last alarm.
func (h handlers) alarmPage(account string, p projections.Page, read func(before, n int64) ([]alarms.Copy, error)) (rows []alarms.Copy, next string, err error) {
	l := alarmList
	if p.Cursor != "" {
		number, ok := h.cfg.Alarms.ShowNumber(account, p.Cursor)
		if !ok {
			return nil, "", fmt.Errorf("paging alarms: %w", projections.ErrCursor)
		}
		l.Start, p.Cursor = number, ""
	}
	rows, next, err = l.Page(p, read)
	if err == nil && next != "" {
		next = h.cfg.Alarms.HideNumber(account, rows[len(rows)-1].Seq)
	}
	return rows, next, err
}

func alarmView(c alarms.Copy) rest.Alarm {
	return rest.Alarm{
		ID: c.ID, Device: c.Device, Channel: c.Channel, Kind: rest.AlarmKind(c.Kind), RaisedAt: utc(c.Raised),
		CameraTime: c.Camera, AcknowledgedAt: c.Acknowledged,
	}
}

// AcknowledgeAlarm notes that the caller has seen an alarm.
func (h handlers) AcknowledgeAlarm(ctx context.Context, r rest.AcknowledgeAlarmRequestObject) (rest.AcknowledgeAlarmResponseObject, error) {
	if err := h.noAlarms(); err != nil {
		return nil, err
	}
	row, err := h.cfg.Alarms.Acknowledge(ctx, caller(ctx), r.Alarm, true)
	if err != nil {
		return nil, alarmProblem(err)
	}
	return rest.AcknowledgeAlarm200JSONResponse(alarmView(row)), nil
}

// UnacknowledgeAlarm notes that the caller has not seen an alarm.
func (h handlers) UnacknowledgeAlarm(ctx context.Context, r rest.UnacknowledgeAlarmRequestObject) (rest.UnacknowledgeAlarmResponseObject, error) {
	if err := h.noAlarms(); err != nil {
		return nil, err
	}
	row, err := h.cfg.Alarms.Acknowledge(ctx, caller(ctx), r.Alarm, false)
	if err != nil {
		return nil, alarmProblem(err)
	}
	return rest.UnacknowledgeAlarm200JSONResponse(alarmView(row)), nil
}

// AcknowledgeAlarms notes that the caller has seen all alarms up to one.
func (h handlers) AcknowledgeAlarms(ctx context.Context, r rest.AcknowledgeAlarmsRequestObject) (rest.AcknowledgeAlarmsResponseObject, error) {
	if err := h.noAlarms(); err != nil {
		return nil, err
	}
	n, err := h.cfg.Alarms.AcknowledgeUpTo(ctx, caller(ctx), r.Body.UpTo, alarms.Query{Device: device.Canonical(r.Body.Device), Channel: r.Body.Channel})
	if err != nil {
		return nil, alarmProblem(err)
	}
	return rest.AcknowledgeAlarms200JSONResponse{Count: n}, nil
}

// GetAlarm reads an alarm that the caller may know of now.
func (h handlers) GetAlarm(ctx context.Context, r rest.GetAlarmRequestObject) (rest.GetAlarmResponseObject, error) {
	if err := h.noAlarms(); err != nil {
		return nil, err
	}
	row, err := h.cfg.Alarms.Get(ctx, caller(ctx), r.Alarm)
	if err != nil {
		return nil, alarmProblem(err)
	}
	return rest.GetAlarm200JSONResponse(alarmView(row)), nil
}

// ownDevice returns the id of a device of the caller.
func (h handlers) ownDevice(ctx context.Context, name string) (string, error) {
	if err := h.noAlarms(); err != nil {
		return "", err
	}
	id, found := device.Canonical(name), false
	err := h.read(ctx, "", func(atLeast position.Position) (err error) {
		_, found, err = h.cfg.Queries.Device(ctx, caller(ctx), id, atLeast)
		return err
	})
	if err == nil && !found {
		err = noSuchDevice()
	}
	return id, err
}

// GetAlarmReceiver reads whether a device of the caller has a key for its alarms.
func (h handlers) GetAlarmReceiver(ctx context.Context, r rest.GetAlarmReceiverRequestObject) (rest.GetAlarmReceiverResponseObject, error) {
	id, err := h.ownDevice(ctx, r.Device)
	if err != nil {
		return nil, err
	}
	of, there, err := h.cfg.Alarms.ReceiverOf(ctx, caller(ctx), id)
	if err == nil && !there {
		err = noReceiver()
	}
	if err != nil {
		return nil, err
	}
	return rest.GetAlarmReceiver200JSONResponse{CreatedAt: utc(of.Created), UsedAt: of.Used}, nil
}

// MakeAlarmReceiver gives a device of the caller a key for its alarms.
func (h handlers) MakeAlarmReceiver(ctx context.Context, r rest.MakeAlarmReceiverRequestObject) (rest.MakeAlarmReceiverResponseObject, error) {
	if err := h.limitFrom(ctx, h.keys); err != nil {
		return nil, err
	}
	id, err := h.ownDevice(ctx, r.Device)
	if err != nil {
		return nil, err
	}
	made, key, err := h.cfg.Alarms.MakeReceiver(ctx, caller(ctx), id)
	if err == nil {
		err = h.stillLoggedIn(ctx, func() error { _, err := h.cfg.Alarms.RevokeReceiver(ctx, id); return err })
	}
	if err != nil {
		return nil, err
	}
	return rest.MakeAlarmReceiver201JSONResponse{Key: key, Path: "/api/v1/alarm-receivers/" + key, CreatedAt: utc(made.Created)}, nil
}

// RevokeAlarmReceiver ends the key for the alarms of a device of the caller.
func (h handlers) RevokeAlarmReceiver(ctx context.Context, r rest.RevokeAlarmReceiverRequestObject) (rest.RevokeAlarmReceiverResponseObject, error) {
	id, err := h.ownDevice(ctx, r.Device)
	if err != nil {
		return nil, err
	}
	had, err := h.cfg.Alarms.RevokeReceiver(ctx, id)
	if err == nil && !had {
		err = noReceiver()
	}
	return rest.RevokeAlarmReceiver204Response{}, err
}

// receiveAlarm takes what a device posts. Strangers have no key, which is looked up before
// the body is read.
func (s *Server) receiveAlarm(c echo.Context) error {
	ctx := c.Request().Context()
	if err := s.noAlarms(); err != nil {
		return err
	}
	if err := s.limitFrom(ctx, s.receiving); err != nil {
		return err
	}
	key, err := pathParam(c, "key")
	if err != nil {
		return noReceiver()
	}
	body := &pacedBody{from: c.Request().Body, until: http.NewResponseController(c.Response().Writer).SetReadDeadline, began: time.Now()}
	err = s.cfg.Alarms.Receive(ctx, key, c.Request().Header.Get("Content-Type"), body)
	switch {
	case err == nil:
		return c.NoContent(http.StatusNoContent)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return tooSlow()
	case errors.Is(err, alarms.ErrNoReceiver):
		if err := s.limitFrom(ctx, s.strangers); err != nil {
			return err
		}
	}
	return alarmProblem(err)
}

// pacedBody is a body that is not held: it has pictures in it. Like others it must arrive
// at some rate.
type pacedBody struct {
	from  io.Reader
	until func(time.Time) error
	began time.Time
	read  int
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	_ = b.until(b.began.Add(bodyGrace + time.Duration(b.read)*time.Second/bodyRate)) // not in tests
	n, err := b.from.Read(p)
	b.read += n
	return n, err
}

// ListPushSubscriptions lists the browsers that the caller is notified on.
func (h handlers) ListPushSubscriptions(ctx context.Context, _ rest.ListPushSubscriptionsRequestObject) (rest.ListPushSubscriptionsResponseObject, error) {
	if err := h.noAlarms(); err != nil {
		return nil, err
	}
	rows, key, err := h.cfg.Alarms.Browsers(ctx, caller(ctx), requestOf(ctx).token)
	if err != nil {
		return nil, err
	}
	out := rest.ListPushSubscriptions200JSONResponse{Items: []rest.PushSubscription{}, PublicKey: key}
	for _, row := range rows {
		out.Items = append(out.Items, browserView(row))
	}
	return out, nil
}

func browserView(b BrowserView) rest.PushSubscription {
	return rest.PushSubscription{ID: b.ID, CreatedAt: utc(b.Created), Current: b.Current}
}

// AddPushSubscription lets the caller be notified on a browser.
func (h handlers) AddPushSubscription(ctx context.Context, r rest.AddPushSubscriptionRequestObject) (rest.AddPushSubscriptionResponseObject, error) {
	if err := h.noAlarms(); err != nil {
		return nil, err
	}
	b := Browser{Endpoint: r.Body.Endpoint, P256DH: r.Body.Keys.P256Dh, Auth: r.Body.Keys.Auth}
	if field, why := h.cfg.Alarms.CheckBrowser(b); field != "" {
		at := "/endpoint"
		if field != "endpoint" {
			at = "/keys/" + field
		}
		return nil, &problem{
			status: http.StatusUnprocessableEntity, code: "invalid_body", detail: "The body is not valid for this operation.", fields: map[string]string{at: why},
		}
	}
	added, err := h.cfg.Alarms.AddBrowser(ctx, caller(ctx), requestOf(ctx).token, b)
	if err != nil {
		return nil, fmt.Errorf("adding a browser: %w", err)
	}
	return rest.AddPushSubscription201JSONResponse(browserView(added)), nil
}

// RemovePushSubscription ends the notices on a browser.
func (h handlers) RemovePushSubscription(ctx context.Context, r rest.RemovePushSubscriptionRequestObject) (rest.RemovePushSubscriptionResponseObject, error) {
	if err := h.noAlarms(); err != nil {
		return nil, err
	}
	had, err := h.cfg.Alarms.RemoveBrowser(ctx, caller(ctx), r.Subscription)
	if err == nil && !had {
		err = &problem{status: http.StatusNotFound, code: "push_subscription_not_found", detail: "There is no such subscription of yours."}
	}
	return rest.RemovePushSubscription204Response{}, err
}
