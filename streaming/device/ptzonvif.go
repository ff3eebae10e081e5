package device

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"
)

const ptzNS = "http://www.onvif.org/ver20/ptz/wsdl"

// onvifHead moves a channel by ONVIF.
type onvifHead struct {
	onvif
	head *Head
}

// ptzService is where a channel is moved, and how.
type ptzService struct {
	path    string
	profile string // a token of the device
	token   bool   // credentials go into the messages
}

// service finds out where the channel is moved, once. It reads the device's clock each
// time, for the tokens.
func (o *onvifHead) service(ctx context.Context) (*ptzService, error) {
	path := o.onvifPath()
	if err := o.clock(ctx, path); err != nil {
		return nil, err
	}
	o.head.mu.Lock()
	known := o.head.service
	o.head.mu.Unlock()
	if known != nil {
		if known.token {
			return known, o.sign(ctx)
		}
		return known, nil
	}
	found, err := o.discover(ctx, path)
	if err != nil {
		return nil, err
	}
	o.head.mu.Lock()
	o.head.service = found
	o.head.mu.Unlock()
	return found, nil
}

func (o *onvifHead) discover(ctx context.Context, path string) (*ptzService, error) {
	answer, err := o.ask(ctx, path, deviceNS, "GetCapabilities", "<Category>All</Category>")
	if err != nil {
		return nil, err
	}
	caps := answer.find("Capabilities")
	if caps.find("PTZ", "XAddr") == nil {
		return nil, fail(Refused, ONVIF)
	}
	answer, err = o.ask(ctx, pathOf(caps, "Media", path), mediaNS, "GetProfiles", "")
	if err != nil {
		return nil, err
	}
	profile, _, _ := profileIn(answer, o.head.target.Channel, movable)
	if profile == "" {
		return nil, fail(Refused, ONVIF)
	}
	return &ptzService{path: pathOf(caps, "PTZ", path), profile: profile, token: o.token}, nil
}

// pathOf returns the path of a service, on the host that we were given, whatever the
// device reports.
func pathOf(caps *element, service, otherwise string) string {
	u, err := url.Parse(caps.words(service, "XAddr"))
	if err != nil || u.Path == "" {
		return otherwise
	}
	return u.Path
}

// movable reports whether a profile can be moved.
func movable(profile *element) bool {
	return profile.find("PTZConfiguration") != nil && len(profile.attrs["token"]) <= maxText
}

// ask calls an operation and returns its response. Credentials are sent as the device
// requires them, once.
func (o *onvif) ask(ctx context.Context, path, namespace, operation, arguments string) (*element, error) {
	body, err := o.send(ctx, path, namespace, operation, arguments)
	if err != nil {
		return nil, err
	}
	if unauthorised(body) && !o.token && o.sent == 0 {
		if err := o.sign(ctx); err != nil {
			return nil, err
		}
		if body, err = o.send(ctx, path, namespace, operation, arguments); err != nil {
			return nil, err
		}
	}
	if unauthorised(body) {
		if o.tried != nil {
			o.tried.refused(o.proof.client.cfg.Now())
		}
		o.proof.distrust(o.addr)
		return nil, fail(WrongPassword, ONVIF)
	}
	answer := body.find(operation + "Response")
	if answer == nil && body.find("Fault") == nil {
		return nil, fail(Unsupported, ONVIF)
	}
	if o.token {
		o.tried.accepted() // also if it refuses the order
	}
	if answer == nil {
		return nil, fail(Refused, ONVIF)
	}
	return answer, nil
}

// sign puts our credentials into the messages from now on.
func (o *onvif) sign(ctx context.Context) (err error) {
	if o.proof.target.Username == "" {
		return fail(WrongPassword, ONVIF)
	}
	if o.tried, err = o.proof.mayTry(ctx, o.addr, ONVIF); err != nil {
		return err
	}
	o.token = true
	return nil
}

// order calls an operation of the PTZ service. What was learned is forgotten if the device
// refuses: it may have been set up again.
func (o *onvifHead) order(ctx context.Context, operation, arguments string) (*element, error) {
	s, err := o.service(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := o.ask(ctx, s.path, ptzNS, operation, "<ProfileToken>"+escaped(s.profile)+"</ProfileToken>"+arguments)
	if err != nil {
		o.head.mu.Lock()
		o.head.service = nil
		o.head.mu.Unlock()
	}
	return answer, err
}

const schemaNS = ` xmlns="http://www.onvif.org/ver10/schema"`

func number(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }

// vector writes the arguments of a movement. A part that does not move is left out if
// another does: a camera without zoom refuses it.
func vector(name string, v Vector, every bool) string {
	text := "<" + name + ">"
	if every || v.Pan != 0 || v.Tilt != 0 {
		text += `<PanTilt x="` + number(v.Pan) + `" y="` + number(v.Tilt) + `"` + schemaNS + `/>`
	}
	if every || v.Zoom != 0 {
		text += `<Zoom x="` + number(v.Zoom) + `"` + schemaNS + `/>`
	}
	return text + "</" + name + ">"
}

func (o *onvifHead) move(ctx context.Context, v Vector, within time.Duration) error {
	seconds := int(math.Ceil(max(within, time.Second).Seconds())) // whole ones: some devices read no others
	_, err := o.order(ctx, "ContinuousMove", vector("Velocity", v, false)+fmt.Sprintf("<Timeout>PT%dS</Timeout>", seconds))
	return err
}

func (o *onvifHead) stop(ctx context.Context) error {
	_, err := o.order(ctx, "Stop", "<PanTilt>true</PanTilt><Zoom>true</Zoom>")
	return err
}

func (o *onvifHead) relative(ctx context.Context, v Vector) error {
	_, err := o.order(ctx, "RelativeMove", vector("Translation", v, false))
	return err
}

func (o *onvifHead) absolute(ctx context.Context, p Place) error {
	_, err := o.order(ctx, "AbsoluteMove", vector("Position", Vector(p), true))
	return err
}

func (o *onvifHead) list(ctx context.Context) ([]Preset, error) {
	answer, err := o.order(ctx, "GetPresets", "")
	if err != nil {
		return nil, err
	}
	return onvifPresets(answer), nil
}

// onvifPresets reads the list of presets. Those whose token can be no id are missing, and
// so are those with which Hikvision devices restart or open their menu.
func onvifPresets(answer *element) []Preset {
	list := []Preset{}
	for _, e := range answer.all("Preset") {
		id := e.attrs["token"]
		if !validPreset(id) || restarts(id) {
			continue
		}
		if list = append(list, Preset{ID: id, Name: e.words("Name")}); len(list) == maxPresets {
			break
		}
	}
	return list
}

// restarts reports whether a Hikvision device would do something else than move: set its
// limits, restart, or open its menu.
func restarts(id string) bool {
	n, err := strconv.Atoi(id)
	return err == nil && n >= 92 && n <= 95
}

func validPreset(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxPresetID
}

func (o *onvifHead) recall(ctx context.Context, id string) error {
	if !validPreset(id) || restarts(id) {
		return fail(NoSuchPreset, ONVIF)
	}
	_, err := o.order(ctx, "GotoPreset", "<PresetToken>"+escaped(id)+"</PresetToken>")
	return err
}

func (o *onvifHead) place(ctx context.Context) (*Place, error) {
	answer, err := o.order(ctx, "GetStatus", "")
	if err != nil {
		return nil, err
	}
	return onvifPlace(answer), nil
}

// onvifPlace reads where a channel looks; nil if that is not there.
func onvifPlace(answer *element) *Place {
	at := answer.find("PTZStatus", "Position")
	pan, ok := coordinate(at.find("PanTilt"), "x", -1)
	tilt, ok2 := coordinate(at.find("PanTilt"), "y", -1)
	if !ok || !ok2 {
		return nil
	}
	zoom, _ := coordinate(at.find("Zoom"), "x", 0) // a camera may have none
	return &Place{Pan: pan, Tilt: tilt, Zoom: zoom}
}

// coordinate reads an attribute; false if it is no number. What is beyond the bounds is cut
// to them.
func coordinate(e *element, name string, least float64) (float64, bool) {
	if e == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(e.attrs[name], 64)
	if err != nil || math.IsNaN(v) {
		return 0, false
	}
	return min(max(v, least), 1), true
}
