package portal

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/api/client"
)

// alarmsPage is the data of the page of alarms.
type alarmsPage struct {
	Form    form // the filter
	Cameras []option
	Hours   []alarmHour
	Newest  string // the id of the first alarm on the first page
	All     bool   // all may be acknowledged
	Back    string // of this page, for what its forms send
	First   string // the address of the first page, "" for this one
	Next    string // of the next page, "" for none
	Filters bool
	Push    pushPart
}

// option is one of those to choose from.
type option struct{ Value, Name string }

// alarmHour are the alarms of an hour.
type alarmHour struct {
	At   stamp
	Rows []alarmRow
}

type alarmRow struct {
	ID, Path       string
	Kind           string
	Device, Camera string // Camera is "" for the device itself
	At             stamp
	CameraTime     *stamp
	Seen           *stamp
	Playback       string // the address of the recording, "" if it may not be played
}

func alarmPath(alarm string) string { return "/alarms/" + url.PathEscape(alarm) }

// watched are the names of the cameras of an account, and what it may do with them.
type watched struct {
	device string
	names  map[int]string
	may    map[int][]client.Privilege
}

// mostWatched is how many devices are named in lists; others have their ids.
const mostWatched = 1000

// watchedDevices are the devices that the account has or was given.
func (v *visit) watchedDevices() (map[string]watched, []option, error) {
	all, choice := map[string]watched{}, []option{}
	for cursor := ""; len(all) < mostWatched; {
		a, err := v.api.ListPrivilegesWithResponse(v.ctx(), &client.ListPrivilegesParams{Limit: 200, Cursor: cursor})
		if err != nil {
			return nil, nil, err
		}
		for _, d := range a.JSON200.Items {
			w := watched{cmp.Or(d.Name, d.Device), map[int]string{}, map[int][]client.Privilege{}}
			choice = append(choice, option{d.Device, w.device})
			for _, c := range d.Cameras {
				w.names[c.Channel] = c.Name
			}
			for _, c := range d.Channels {
				w.names[c.Channel], w.may[c.Channel] = cmp.Or(w.names[c.Channel], v.t("camera.number", "number", c.Channel)), c.Privileges
				if len(d.Channels) > 1 {
					choice = append(choice, option{d.Device + "/" + strconv.Itoa(c.Channel), w.device + " · " + w.names[c.Channel]})
				}
			}
			all[d.Device] = w
		}
		if cursor = a.JSON200.Next; cursor == "" {
			break
		}
	}
	return all, choice, nil
}

// alarmRow is an alarm as the pages show it.
func (v *visit) alarmRow(a client.Alarm, names map[string]watched) alarmRow {
	local := a.RaisedAt.In(v.zone)
	r := alarmRow{
		ID: a.ID, Path: alarmPath(a.ID), Kind: v.alarmKind(string(a.Kind)), Device: cmp.Or(names[a.Device].device, a.Device),
		At: stamp{a.RaisedAt.UTC().Format(time.RFC3339), local.Format("15:04:05")}, CameraTime: v.at(a.CameraTime), Seen: v.at(a.AcknowledgedAt),
	}
	if a.Channel > 0 {
		r.Camera = cmp.Or(names[a.Device].names[a.Channel], v.t("camera.number", "number", a.Channel))
	}
	if slices.Contains(names[a.Device].may[a.Channel], client.PrivilegePlayback) {
		r.Playback = "/playback/" + url.PathEscape(a.Device) + "/" + strconv.Itoa(a.Channel) + "?at=" + url.QueryEscape(a.RaisedAt.UTC().Format(time.RFC3339))
	}
	return r
}

// alarmKind says what an alarm is; kinds may be added.
func (v *visit) alarmKind(kind string) string {
	if key := "alarm.kind." + kind; v.has(key) {
		return v.t(key)
	}
	return v.t("alarm.kind.other")
}

// cameraOf reads which camera is meant: a device, or a channel of it.
func cameraOf(text string) (device string, channel *int) {
	device, number, some := strings.Cut(text, "/")
	if n, err := strconv.Atoi(number); some && err == nil && n >= 0 && n <= 511 {
		channel = &n
	}
	return device, channel
}

const mostAlarms = 50 // on a page

func showAlarms(v *visit) error {
	p, err := v.alarms(newForm())
	if err != nil {
		return err
	}
	return v.page("alarms", v.t("alarms.title"), p)
}

func (v *visit) alarms(f form) (*alarmsPage, error) {
	query := v.r.URL.Query()
	for _, name := range []string{"camera", "day", "unseen"} {
		f.Values[name] = query.Get(name)
	}
	p := &alarmsPage{Form: f, Back: v.r.URL.RequestURI(), Filters: f.Get("camera")+f.Get("day")+f.Get("unseen") != ""}
	names, choice, err := v.watchedDevices()
	if err != nil {
		return nil, err
	}
	p.Cameras = choice
	params := client.ListAlarmsParams{Limit: mostAlarms, Cursor: query.Get("cursor")}
	params.Device, params.Channel = cameraOf(f.Get("camera"))
	if f.Get("unseen") != "" {
		no := false
		params.Acknowledged = &no
	}
	if day, err := time.ParseInLocation(time.DateOnly, f.Get("day"), v.zone); err == nil {
		next := day.AddDate(0, 0, 1)
		params.From, params.To = &day, &next
	} else if f.Get("day") != "" {
		f.Wrong["day"] = v.t("terms.wrong.time")
	}
	a, err := v.api.ListAlarmsWithResponse(v.ctx(), &params)
	if err != nil {
		return nil, err
	}
	for _, one := range a.JSON200.Items {
		hour := one.RaisedAt.In(v.zone).Truncate(time.Hour)
		if _, offset := hour.Zone(); offset%3600 != 0 { // zones that are off by a half, or a quarter
			hour = time.Date(hour.Year(), hour.Month(), hour.Day(), one.RaisedAt.In(v.zone).Hour(), 0, 0, 0, v.zone)
		}
		at := *v.at(hour)
		if n := len(p.Hours); n == 0 || p.Hours[n-1].At != at {
			p.Hours = append(p.Hours, alarmHour{At: at})
		}
		row := v.alarmRow(one, names)
		last := &p.Hours[len(p.Hours)-1]
		last.Rows = append(last.Rows, row)
		p.All = p.All || row.Seen == nil
	}
	if len(p.Hours) > 0 {
		p.Newest = p.Hours[0].Rows[0].ID
	}
	p.All = p.All && params.Cursor == "" && params.From == nil
	if params.Cursor != "" {
		query.Del("cursor")
		p.First = "/alarms?" + query.Encode()
	}
	if a.JSON200.Next != "" {
		query.Set("cursor", a.JSON200.Next)
		p.Next = "/alarms?" + query.Encode()
	}
	p.Push = v.push()
	return p, nil
}

// markAlarms notes that alarms were seen, or that one was not.
func markAlarms(v *visit) error {
	f := v.r.PostForm
	var err error
	switch f.Get("do") {
	case "seen":
		_, err = v.api.AcknowledgeAlarmWithResponse(v.ctx(), f.Get("alarm"))
	case "unseen":
		_, err = v.api.UnacknowledgeAlarmWithResponse(v.ctx(), f.Get("alarm"))
	case "all":
		body := client.AlarmAcknowledgement{UpTo: f.Get("alarm")}
		body.Device, body.Channel = cameraOf(f.Get("camera"))
		var a *client.AcknowledgeAlarmsResponse
		if a, err = v.api.AcknowledgeAlarmsWithResponse(v.ctx(), body); err == nil {
			v.say("alarms_seen", "n", strconv.Itoa(a.JSON200.Count))
		}
	default:
		return errNoPage
	}
	if err != nil {
		return err
	}
	v.redirect(local(f.Get("back"), "/alarms"))
	return nil
}

// showAlarm shows one alarm: notifications lead to it.
func showAlarm(v *visit) error {
	a, err := v.api.GetAlarmWithResponse(v.ctx(), v.r.PathValue("alarm"))
	if err != nil {
		return err
	}
	names, _, err := v.watchedDevices()
	if err != nil {
		return err
	}
	row := v.alarmRow(*a.JSON200, names)
	row.At = *v.at(a.JSON200.RaisedAt)
	return v.page("alarm", row.Kind, row)
}
