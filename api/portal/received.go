package portal

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"latchkey/api/client"
)

const (
	mostNew  = 20 // invitations on a page
	mostRows = 50 // rows of a list on a page
)

// receivedPage is the data of the page of what others share.
type receivedPage struct {
	Form    form
	Count   int // new sharings on all pages
	New     []sharing
	NextNew string
	Later   []sharing // dismissed before
	Devices []receivedRow
	Next    string
	First   bool // of the pages
}

// sharing is a device that waits for an answer.
type sharing struct {
	Share, Device, Name, Model string
	From, Address              string
	At                         *stamp
	Functions                  string
	Cameras                    int
	When                       []string
}

// receivedRow is a device that was accepted.
type receivedRow struct {
	Path, Name, Domain string
	From, Address      string
	Functions          string
	State              string // "" while it is in force
}

func receivedPath(share, device string) string {
	return "/shared-with-me/" + url.PathEscape(share) + "/" + url.PathEscape(device)
}

func showReceived(v *visit) error {
	p, err := v.received(newForm())
	if err != nil {
		return err
	}
	return v.page("received", v.t("received.title"), p)
}

func (v *visit) received(f form) (*receivedPage, error) {
	query := v.r.URL.Query()
	p := &receivedPage{Form: f, First: query.Get("cursor") == ""}
	fresh, err := v.api.ListInvitationsWithResponse(v.ctx(), &client.ListInvitationsParams{Limit: mostNew, Cursor: query.Get("new")})
	if err != nil {
		return nil, err
	}
	p.Count, p.New, p.NextNew = int(fresh.JSON200.Count), v.sharingsOf(fresh.JSON200.Items), fresh.JSON200.Next
	later, err := v.api.ListInvitationsWithResponse(v.ctx(), &client.ListInvitationsParams{Dismissed: true, Limit: mostRows})
	if err != nil {
		return nil, err
	}
	p.Later = v.sharingsOf(later.JSON200.Items)
	list, err := v.api.ListReceivedSharesWithResponse(v.ctx(), &client.ListReceivedSharesParams{Limit: mostRows, Cursor: query.Get("cursor")})
	if err != nil {
		return nil, err
	}
	for _, s := range list.JSON200.Items {
		for _, d := range s.Devices {
			if d.Status == "accepted" {
				p.Devices = append(p.Devices, receivedRow{
					Path: receivedPath(s.ID, d.Device), Name: cmp.Or(d.Name, d.Device), Domain: d.Domain,
					From: v.personName(s.From), Address: personAddress(s.From), Functions: v.functions(allOf(d.Channels)), State: v.pausedOrNot(s, d),
				})
			}
		}
	}
	p.Next = list.JSON200.Next
	return p, nil
}

func (v *visit) sharingsOf(list []client.Invitation) []sharing {
	var out []sharing
	for _, i := range list {
		out = append(out, sharing{
			Share: i.Share, Device: i.Device.ID, Name: cmp.Or(i.Device.Name, i.Device.ID), Model: i.Device.Model,
			From: v.personName(i.From), Address: personAddress(i.From), At: v.at(i.InvitedAt),
			Functions: v.functions(allOf(i.Channels)), Cameras: len(i.Channels), When: append(v.when(i.ShareTerms), v.when(i.Terms)...),
		})
	}
	return out
}

// pausedOrNot says why a device that was accepted gives nothing now, "" if it does.
func (v *visit) pausedOrNot(s client.Share, d client.ShareDevice) string {
	switch {
	case s.Status == "paused" || d.Paused:
		return v.t("state.paused")
	case !s.InForce || !d.InForce:
		return v.t("state.not_now")
	}
	return ""
}

// decide answers a sharing, or puts it off.
func decide(v *visit) error {
	share, device := v.r.PostForm.Get("share"), v.r.PostForm.Get("device")
	if share == "" || device == "" {
		return errNoPage
	}
	var err error
	said := ""
	switch v.r.PostForm.Get("decision") {
	case "accept":
		said = "accepted"
		_, err = v.api.AcceptDeviceWithResponse(v.ctx(), share, device, &client.AcceptDeviceParams{IdempotencyKey: v.decisionKey(share, device)})
	case "reject":
		said = "rejected"
		_, err = v.api.RejectDeviceWithResponse(v.ctx(), share, device, &client.RejectDeviceParams{IdempotencyKey: v.decisionKey(share, device)})
	case "later":
		said = "later"
		_, err = v.api.DismissDeviceWithResponse(v.ctx(), share, device, &client.DismissDeviceParams{IdempotencyKey: v.decisionKey(share, device)})
	default:
		return errNoPage
	}
	if err != nil {
		f := newForm()
		status := v.refused(&f, err, nil)
		if status == 0 {
			return err
		}
		p, wrong := v.received(f)
		if wrong != nil {
			return wrong
		}
		return v.render(status, "received", v.t("received.title"), p)
	}
	v.say(said)
	v.redirect("/shared-with-me")
	return nil
}

// decisionKey is the key of one of the forms of a page, each of which sends a command of
// its own.
func (v *visit) decisionKey(parts ...string) string {
	key := v.key()
	if key == "" {
		return ""
	}
	return key + "-" + digest(strings.Join(append(parts, v.r.PostForm.Get("decision")), "\x00"))
}

// receivedDetails is the data of the page of one device.
type receivedDetails struct {
	Form          form
	Path, Name    string
	Model         string
	From, Address string
	Accepted      *stamp
	State         string
	When          []string
	Functions     string
	Cameras       []receivedCamera
}

type receivedCamera struct {
	Name      string
	Playback  string // the path of its recordings; "" if they are not shared
	Functions string
	Limits    []string
}

// receivedDevice reads one device that was accepted. Others, and those of nobody, do not
// exist.
func (v *visit) receivedDevice(f form) (*receivedDetails, client.ShareDevice, error) {
	a, err := v.api.GetShareWithResponse(v.ctx(), v.r.PathValue("share"), nil)
	if err != nil {
		return nil, client.ShareDevice{}, err
	}
	s := *a.JSON200
	me, err := v.account()
	if err != nil {
		return nil, client.ShareDevice{}, err
	}
	i := slices.IndexFunc(s.Devices, func(d client.ShareDevice) bool { return d.Device == v.r.PathValue("device") && d.Status == "accepted" })
	if i < 0 || s.Owner == me.ID { // the owner has its page among what they share
		return nil, client.ShareDevice{}, errNoPage
	}
	d := s.Devices[i]
	p := &receivedDetails{
		Form: f, Path: receivedPath(s.ID, d.Device), Name: cmp.Or(d.Name, d.Device), Model: d.Model,
		From: v.personName(s.From), Address: personAddress(s.From), Accepted: v.at(d.AnsweredAt), State: v.pausedOrNot(s, d),
		When: append(v.when(s.Terms), v.when(d.Terms)...), Functions: v.functions(allOf(d.Channels)),
	}
	for _, g := range d.Channels {
		camera := receivedCamera{Name: v.cameraName(d.Cameras, g.Channel), Functions: v.functions(g.Privileges), Limits: v.limits(g)}
		if slices.Contains(g.Privileges, client.PrivilegePlayback) {
			camera.Playback = playbackPath(d.Device, g.Channel)
		}
		p.Cameras = append(p.Cameras, camera)
	}
	return p, d, nil
}

// cameraName returns the name of a channel, else its number.
func (v *visit) cameraName(cameras []client.LinkedCamera, channel int) string {
	for _, c := range cameras {
		if c.Channel == channel && c.Name != "" {
			return c.Name
		}
	}
	return v.t("camera.number", "number", channel)
}

func showReceivedDevice(v *visit) error {
	p, d, err := v.receivedDevice(newForm())
	if err != nil {
		return err
	}
	p.Form.Values["domain"] = d.Domain
	return v.page("receiveddevice", v.t("received.details"), p)
}

func setDomain(v *visit) error {
	p, _, err := v.receivedDevice(v.typed("domain"))
	if err != nil {
		return err
	}
	domain := strings.TrimSpace(p.Form.Get("domain"))
	_, err = v.api.SetDeviceDomainWithResponse(v.ctx(), v.r.PathValue("share"), v.r.PathValue("device"),
		&client.SetDeviceDomainParams{IdempotencyKey: v.key()}, client.DeviceDomain{Domain: domain})
	if err != nil {
		return v.again("receiveddevice", v.t("received.details"), &p.Form, p, err, nil)
	}
	v.say("saved")
	v.redirect(p.Path)
	return nil
}

func askLeave(v *visit) error {
	p, _, err := v.receivedDevice(newForm())
	if err != nil {
		return err
	}
	return v.page("leave", v.t("leave.title"), p)
}

// leave gives up a device that was accepted.
func leave(v *visit) error {
	p, _, err := v.receivedDevice(newForm())
	if err != nil {
		return err
	}
	_, err = v.api.RemoveShareDeviceWithResponse(v.ctx(), v.r.PathValue("share"), v.r.PathValue("device"), &client.RemoveShareDeviceParams{IdempotencyKey: v.key()})
	if err != nil {
		return v.again("leave", v.t("leave.title"), &p.Form, p, err, nil)
	}
	v.say("left", "device", p.Name)
	v.redirect("/shared-with-me")
	return nil
}
