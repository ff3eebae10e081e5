package portal

import (
	"cmp"
	"net/http"

	"latchkey/api/client"
)

// receiverPage is the data of the page of the address to which a device posts its alarms.
type receiverPage struct {
	Device, Path, Name string // of the device: its page, this page, and what it is called
	Made, Used         *stamp // Made is nil if there is none
	Address            string // right after it was made
}

func (v *visit) receiver() (*receiverPage, string, error) {
	d, err := v.api.GetDeviceWithResponse(v.ctx(), v.r.PathValue("device"), nil)
	if err != nil {
		return nil, "", err
	}
	id := d.JSON200.ID
	p := &receiverPage{Device: devicePath(id), Path: devicePath(id) + "/alarms", Name: cmp.Or(d.JSON200.Name, id)}
	a, err := v.api.GetAlarmReceiverWithResponse(v.ctx(), id)
	if client.HasCode(err, "alarm_receiver_not_found") {
		return p, id, nil
	}
	if err != nil {
		return nil, "", err
	}
	p.Made, p.Used = v.at(a.JSON200.CreatedAt), v.at(a.JSON200.UsedAt)
	return p, id, nil
}

func showReceiver(v *visit) error {
	p, _, err := v.receiver()
	if err != nil {
		return err
	}
	return v.page("receiver", v.t("receiver.title"), p)
}

// setReceiver makes the address, which is shown by the answer alone, or takes it away.
func setReceiver(v *visit) error {
	p, id, err := v.receiver()
	if err != nil {
		return err
	}
	if p.Made != nil { // it ends in either case
		ask, do := v.t("receiver.ask", "device", p.Name), v.t("receiver.remove")
		if v.r.PostForm.Get("do") == "make" {
			do = v.t("receiver.again")
		}
		if sure, err := v.confirmed(ask, do, p.Path); err != nil || !sure {
			return err
		}
	}
	switch v.r.PostForm.Get("do") {
	case "make":
		a, err := v.api.MakeAlarmReceiverWithResponse(v.ctx(), id)
		if err != nil {
			return err
		}
		p.Made, p.Used, p.Address = v.at(a.JSON201.CreatedAt), nil, v.origin()+a.JSON201.Path
		return v.render(http.StatusOK, "receiver", v.t("receiver.title"), p)
	case "remove":
		if _, err := v.api.RevokeAlarmReceiverWithResponse(v.ctx(), id); err != nil {
			return err
		}
		v.say("receiver_removed")
		v.redirect(p.Path)
		return nil
	}
	return errNoPage
}

// origin is that of the server, as the browser has it.
func (v *visit) origin() string {
	if secure(v.r) {
		return "https://" + v.r.Host
	}
	return "http://" + v.r.Host
}
