package portal

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"latchkey/api/client"
)

// playbackPage is the data of the page with the recordings of a channel on a day.
type playbackPage struct {
	Path         string // of the page, without its query
	Device, Name string // of the device
	Camera       string // the name of the channel
	Zone         string // as people read it
	OffsetZone   bool   // it is an offset, and not a place
	ZoneQuery    string // as the page's address has it
	Day          string
	DayText      string
	Before       string // the query of the day before
	After        string // of the day after; "" if it has not begun
	Today        string
	Rows         []recordingRow
	Count        int
	Earlier      string // the query of the rows before; "" if there are none
	Later        string
	Nearest      *recordingLink // of a day without recordings
	Notes        []string       // what limits the list, and what it cannot say
	Fault        string         // why there is no list
	Live         string         // the address of the live view; "" if it may not be seen
	Player       string         // the address for other players
	Data         playbackData
}

// recordingRow is a recording of the list, in the zone of the page.
type recordingRow struct {
	Query, From, To, Length string
	Chosen                  bool
}

// recordingLink leads to a recording of another day.
type recordingLink struct{ Query, Text string }

// playbackData is what the scripts of the page get. Times are in milliseconds since 1970.
type playbackData struct {
	Path       string      `json:"path"`  // of the operation that plays
	Check      string      `json:"check"` // of the one that says whether that is allowed
	From       int64       `json:"from"`
	To         int64       `json:"to"`
	Offsets    []offset    `json:"offsets"`
	Recordings [][2]int64  `json:"recordings"`
	Allowed    [2]int64    `json:"allowed"`
	Alarms     []alarmTick `json:"alarms"`
	Now        int64       `json:"now"`
	At         int64       `json:"at"` // 0: nothing was chosen
}

type alarmTick struct {
	At   int64  `json:"at"`
	Text string `json:"text"`
}

const (
	mostRecordingRows = 100  // on a page
	mostRecordings    = 5000 // of a day
	mostAlarmTicks    = 1000
	farthestDay       = 31 * 24 * time.Hour // that is searched for the nearest recording
	pageOfAPI         = 200
)

func playbackPath(device string, channel int) string {
	return "/playback/" + url.PathEscape(device) + "/" + strconv.Itoa(channel)
}

// showPlayback shows what is recorded of a channel on a day, and plays it.
func showPlayback(v *visit) error {
	channel, err := strconv.Atoi(v.r.PathValue("channel"))
	if err != nil || channel < 1 {
		return errNoPage
	}
	q := v.r.URL.Query()
	at, _ := time.Parse(time.RFC3339Nano, q.Get("at"))
	d, list, err := v.recordedDay(v.r.PathValue("device"), channel, q.Get("day"), q.Get("zone"), at)
	fault := ""
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == statusBadGateway {
		fault, err = v.problem(err, e.Code), nil
	}
	if err != nil {
		return err
	}
	p := &playbackPage{
		Path: playbackPath(d.device, channel), Fault: fault,
		Zone: d.zone.String(), OffsetZone: d.zone.offset, ZoneQuery: d.zone.query, Day: d.date.Format(time.DateOnly), DayText: d.date.Format(v.t("format.day")),
		Today: v.cfg.Now().In(d.zone.Location).Format(time.DateOnly),
	}
	if err := v.nameChannel(p, d); err != nil {
		return err
	}
	p.Before = d.query(d.date.AddDate(0, 0, -1), time.Time{})
	if next := d.date.AddDate(0, 0, 1); next.Format(time.DateOnly) <= p.Today {
		p.After = d.query(next, time.Time{})
	}
	if err := v.mayOnDay(p, d, list); err != nil {
		return err
	}
	if p.listRecordings(v, d, list.items, at); len(list.items) == 0 && fault == "" {
		if p.Nearest, err = v.nearest(d); err != nil {
			return err
		}
	}
	return v.page("playback", v.t("playback.title"), p)
}

// statusBadGateway is of a device that did not give what it was asked for.
const statusBadGateway = 502

// recordedDay is a day of a channel by the clocks of a zone.
type recordedDay struct {
	device   string // as the address has it
	channel  int
	date     time.Time // at midnight in UTC
	zone     dayZone
	from, to time.Time
}

// query is that of the page for a day and an instant of it; the zero time: none.
func (d recordedDay) query(date, at time.Time) string {
	q := url.Values{"day": {date.Format(time.DateOnly)}, "zone": {d.zone.query}}
	if !at.IsZero() {
		q.Set("at", at.UTC().Format(time.RFC3339))
	}
	return "?" + q.Encode()
}

// queryAt is query for an instant of any day.
func (d recordedDay) queryAt(at time.Time) string { return d.query(at.In(d.zone.Location), at) }

// recordedList is what the API lists of a day.
type recordedList struct {
	items     []client.Recording
	zone      string
	uncertain bool
	more      bool // than the page shows
}

// recordedDay reads a day: of the zone that is asked for, else of the device's clock if that
// is not the browser's zone now. Of an error the day is right all the same.
func (v *visit) recordedDay(device string, channel int, day, zone string, at time.Time) (recordedDay, recordedList, error) {
	d := recordedDay{device: device, channel: channel}
	var chosen bool
	if d.zone, chosen = readZone(zone); !chosen {
		d.zone = dayZone{v.zone, v.zone.String(), false}
	}
	v.setDay(&d, day, at)
	list, err := v.recordings(d)
	if err != nil || chosen || list.zone == "" || d.zone.offsetAt(v.cfg.Now()) == list.zone {
		return d, list, err
	}
	if theirs, ok := readZone(list.zone); ok {
		d.zone = theirs
		v.setDay(&d, day, at)
		list, err = v.recordings(d)
	}
	return d, list, err
}

// setDay sets the day that is asked for: that of an instant if it has no date, else today.
func (v *visit) setDay(d *recordedDay, day string, at time.Time) {
	date, err := time.Parse(time.DateOnly, day)
	if err != nil || date.Year() < 1970 || date.Year() > 2199 {
		if at.IsZero() || at.Year() < 1970 || at.Year() > 2199 {
			at = v.cfg.Now()
		}
		y, m, n := at.In(d.zone.Location).Date()
		date = time.Date(y, m, n, 0, 0, 0, 0, time.UTC)
	}
	d.date = date
	d.from, d.to = d.zone.day(date)
}

// recordings lists a day, as far as a page can show it.
func (v *visit) recordings(d recordedDay) (l recordedList, err error) {
	l.items, err = v.recordingsOf(d, d.from, d.to, mostRecordings, func(page *client.RecordingList) {
		l.zone, l.uncertain = page.Zone, page.Uncertain
	})
	l.more = len(l.items) >= mostRecordings
	return l, err
}

// recordingsOf lists a time, up to a number of recordings.
func (v *visit) recordingsOf(d recordedDay, from, to time.Time, most int, each func(*client.RecordingList)) (list []client.Recording, err error) {
	params := client.ListDeviceRecordingsParams{From: &from, To: &to, Limit: min(most, pageOfAPI)}
	for from.Before(to) && len(list) < most {
		a, err := v.api.ListDeviceRecordingsWithResponse(v.ctx(), d.device, d.channel, &params)
		if err != nil {
			return nil, err
		}
		each(a.JSON200)
		list = append(list, a.JSON200.Items...)
		if params.Cursor = a.JSON200.Next; params.Cursor == "" {
			break
		}
	}
	return list, nil
}

// nameChannel finds the names of the device and its channel.
func (v *visit) nameChannel(p *playbackPage, d recordedDay) error {
	may, err := v.mayWatch()
	if err != nil {
		return err
	}
	p.Device, p.Name, p.Camera = d.device, d.device, v.t("camera.number", "number", d.channel)
	i := slices.IndexFunc(may, func(m client.DevicePrivileges) bool { return m.Device == d.device || m.Domain == d.device })
	if i < 0 {
		return nil
	}
	p.Device, p.Name = may[i].Device, cmp.Or(may[i].Name, may[i].Device)
	if !may[i].Owner {
		return nil
	}
	own, err := v.api.GetDeviceWithResponse(v.ctx(), p.Device, nil)
	if err != nil {
		return err
	}
	for _, c := range own.JSON200.Channels {
		if c.Channel == d.channel {
			p.Camera = cmp.Or(c.Name, p.Camera)
		}
	}
	return nil
}

// mayOnDay notes what may be seen of a day: what is recorded, alarms, and the live view.
func (v *visit) mayOnDay(p *playbackPage, d recordedDay, list recordedList) error {
	now := v.cfg.Now()
	ask := func(name client.Privilege) (*client.PrivilegeCheck, error) {
		a, err := v.api.CheckPrivilegeWithResponse(v.ctx(), &client.CheckPrivilegeParams{Device: d.device, Channel: d.channel, Privilege: name})
		if err != nil {
			return nil, err
		}
		return a.JSON200, nil
	}
	play, err := ask(client.PrivilegePlayback)
	if err != nil {
		return err
	}
	live, err := ask(client.PrivilegeLiveView)
	if err != nil {
		return err
	}
	if live.Allowed {
		p.Live = "/live/" + url.PathEscape(p.Device) + "/" + strconv.Itoa(d.channel)
	}
	until := earlier(d.to, play.Playback.To)
	since := later(d.from, play.Playback.From)
	p.Data = playbackData{
		Path:  "/devices/" + url.PathEscape(d.device) + "/channels/" + strconv.Itoa(d.channel) + "/playback",
		Check: "/privileges/check?" + url.Values{"device": {d.device}, "channel": {strconv.Itoa(d.channel)}, "privilege": {string(client.PrivilegePlayback)}}.Encode(),
		From:  d.from.UnixMilli(), To: d.to.UnixMilli(), Offsets: d.zone.offsets(d.from, d.to), Now: now.UnixMilli(),
		Allowed: [2]int64{since.UnixMilli(), later(since, until).UnixMilli()}, Recordings: [][2]int64{}, Alarms: []alarmTick{},
	}
	for _, r := range list.items {
		p.Data.Recordings = append(p.Data.Recordings, [2]int64{r.From.UnixMilli(), r.To.UnixMilli()})
	}
	if play.Playback.From.After(d.from) {
		p.Notes = append(p.Notes, v.t("playback.since", "time", play.Playback.From.In(d.zone.Location).Format(v.t("format.time"))))
	}
	if delay := now.Sub(play.Playback.To).Round(time.Minute); play.Allowed && !live.Allowed && delay >= time.Minute && d.to.After(play.Playback.To) {
		p.Notes = append(p.Notes, v.n("playback.delay", int(delay.Minutes())))
	}
	switch {
	case p.Fault != "":
	case list.uncertain:
		p.Notes = append(p.Notes, v.t("playback.uncertain"))
	case list.zone == "" && len(list.items) > 0:
		p.Notes = append(p.Notes, v.t("playback.no_zone"))
	}
	if list.more {
		p.Notes = append(p.Notes, v.t("playback.too_many", "number", mostRecordings))
	}
	if len(p.Data.Offsets) > 1 {
		p.Notes = append(p.Notes, v.t("playback.clocks_change"))
	}
	alarm, err := ask(client.PrivilegeAlarm)
	if err == nil && alarm.Allowed {
		if p.Data.Alarms, err = v.alarmsOf(d); err != nil && !client.HasCode(err, "unauthenticated") {
			p.Data.Alarms, err = []alarmTick{}, nil
			p.Notes = append(p.Notes, v.t("playback.no_alarms"))
		}
	}
	return err
}

// alarmsOf lists the alarms of a day that the caller has.
func (v *visit) alarmsOf(d recordedDay) ([]alarmTick, error) {
	list := []alarmTick{}
	params := client.ListAlarmsParams{Device: d.device, Channel: &d.channel, From: &d.from, To: &d.to, Limit: pageOfAPI}
	for range mostAlarmTicks / pageOfAPI {
		a, err := v.api.ListAlarmsWithResponse(v.ctx(), &params)
		if err != nil {
			return nil, err
		}
		for _, one := range a.JSON200.Items {
			list = append(list, alarmTick{one.RaisedAt.UnixMilli(), v.t("playback.alarm", "time", d.zone.clock(one.RaisedAt, d))})
		}
		if params.Cursor = a.JSON200.Next; params.Cursor == "" {
			break
		}
	}
	return list, nil
}

// listRecordings puts the recordings that are shown as a list on the page: those next to the
// chosen instant, or from the query's number on.
func (p *playbackPage) listRecordings(v *visit, d recordedDay, list []client.Recording, at time.Time) {
	if len(list) > 0 {
		p.Data.At = atMilli(at, d)
	}
	p.Count = len(list)
	chosen := slices.IndexFunc(list, func(r client.Recording) bool { return !at.IsZero() && r.To.After(at) })
	first, err := strconv.Atoi(v.r.URL.Query().Get("rows"))
	if err != nil {
		first = max(0, chosen) / mostRecordingRows * mostRecordingRows
	}
	first = min(max(0, first), len(list))
	last := min(len(list), first+mostRecordingRows)
	part := func(from int) string { return d.query(d.date, at) + "&rows=" + strconv.Itoa(from) }
	if first > 0 {
		p.Earlier = part(max(0, first-mostRecordingRows))
	}
	if last < len(list) {
		p.Later = part(last)
	}
	for i, r := range list[first:last] {
		p.Rows = append(p.Rows, recordingRow{
			Query: d.query(d.date, r.From), From: d.zone.clock(r.From, d), To: d.zone.clock(r.To, d),
			Length: v.length(r.To.Sub(r.From)), Chosen: first+i == chosen && !at.Before(r.From),
		})
	}
	if chosen >= 0 {
		const layout = "20060102T150405Z"
		r := list[chosen]
		p.Player = "rtsp://" + v.door() + "/" + url.PathEscape(d.device) + "/" + strconv.Itoa(d.channel) +
			"/playback?starttime=" + later(r.From, at).UTC().Format(layout) + "&endtime=" + r.To.UTC().Format(layout)
	}
}

// atMilli is an instant of a day; 0 for one of another.
func atMilli(at time.Time, d recordedDay) int64 {
	if at.Before(d.from) || !at.Before(d.to) {
		return 0
	}
	return at.UnixMilli()
}

// length is how long something is, in words, rounded.
func (l *language) length(d time.Duration) string {
	switch {
	case d < time.Minute:
		return l.n("length.seconds", max(1, int(d.Round(time.Second).Seconds())))
	case d < time.Hour:
		return l.n("length.minutes", int(d.Round(time.Minute).Minutes()))
	}
	d = d.Round(time.Minute)
	if d%time.Hour == 0 {
		return l.n("length.hours", int(d/time.Hour))
	}
	return l.n("length.hours", int(d/time.Hour)) + " " + l.n("length.minutes", int(d%time.Hour/time.Minute))
}

// nearest finds the recording that is nearest to a day without any: the last one before it,
// else the first one after it. Only a month on each side is searched.
func (v *visit) nearest(d recordedDay) (*recordingLink, error) {
	ignore := func(*client.RecordingList) {}
	for _, back := range []time.Duration{24 * time.Hour, farthestDay} {
		list, err := v.recordingsOf(d, later(d.from.Add(-back), time.Unix(0, 0)), d.from, mostRecordings, ignore)
		if ended, err := away(err); ended {
			return nil, err
		}
		if n := len(list); n > 0 {
			return v.recordingLink(d, list[n-1]), nil
		}
	}
	list, err := v.recordingsOf(d, d.to, earlier(d.to.Add(farthestDay), v.cfg.Now()), 1, ignore)
	if ended, err := away(err); ended || len(list) == 0 {
		return nil, err
	}
	return v.recordingLink(d, list[0]), nil
}

// away reports whether a search has ended with an error. That the device did not answer is
// none of the page.
func away(err error) (ended bool, of error) {
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == statusBadGateway {
		return true, nil
	}
	return err != nil, err
}

func (v *visit) recordingLink(d recordedDay, r client.Recording) *recordingLink {
	return &recordingLink{Query: d.queryAt(r.From), Text: r.From.In(d.zone.Location).Format(v.t("format.time"))}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
