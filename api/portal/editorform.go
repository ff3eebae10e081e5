package portal

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/api/client"
)

// termsText is the part of a form that says when, to see whether it was changed: terms
// that were not changed are not sent, and stay as they are to the second.
func termsText(e *editor) string {
	f := e.Form
	parts := []string{f.Get("from"), f.Get("until"), f.Get("last_days"), f.Get("since_acceptance")}
	spans := 0
	for _, s := range e.Spans {
		if len(s.On) == 0 && s.Start == "" && s.End == "" {
			continue
		}
		spans++
		for _, d := range days {
			if s.On[string(d)] {
				parts = append(parts, string(d))
			}
		}
		parts = append(parts, s.Start, s.End)
	}
	if spans > 0 || f.Get("from") != "" || f.Get("until") != "" {
		parts = append(parts, f.Get("zone"))
	}
	return digest(strings.Join(parts, "|"))
}

// sentForm is what was sent with the form of a share.
type sentForm struct {
	order  []string
	on     ticks
	had    map[string]map[int]bool
	remove map[string]bool
	gone   []string
}

// posted reads the form of a share into an editor.
func (v *visit) posted(e *editor) sentForm {
	post := v.r.PostForm
	s := sentForm{on: ticks{}, had: map[string]map[int]bool{}, remove: map[string]bool{}, gone: post["gone"]}
	for _, device := range post["device"] {
		if !slices.Contains(s.order, device) && len(s.order) < 512 {
			s.order = append(s.order, device)
		}
	}
	for _, device := range post["remove"] {
		s.remove[device] = true
	}
	for _, value := range post["grant"] {
		parts := strings.Split(value, "/")
		if len(parts) != 3 {
			continue
		}
		if channel, err := strconv.Atoi(parts[1]); err == nil && slices.Contains(privileges, client.Privilege(parts[2])) {
			s.on.put(parts[0], channel, client.Privilege(parts[2]))
		}
	}
	for _, value := range post["had"] {
		device, number, _ := strings.Cut(value, "/")
		if channel, err := strconv.Atoi(number); err == nil {
			if s.had[device] == nil {
				s.had[device] = map[int]bool{}
			}
			s.had[device][channel] = true
		}
	}
	e.Spans = nil
	for n := range mostSpans {
		at := "span" + strconv.Itoa(n)
		row := spanRow{Number: len(e.Spans), On: map[string]bool{}, Start: post.Get(at + "-start"), End: post.Get(at + "-end")}
		for _, d := range post[at+"-day"] {
			row.On[d] = true
		}
		if len(row.On) > 0 || row.Start != "" || row.End != "" {
			e.Spans = append(e.Spans, row)
		}
	}
	return s
}

var (
	errTime = errors.New("it is not a time")
	errZone = errors.New("it is not a time zone")
)

// typedZone is the zone of the times and hours of a form.
func typedZone(f form) (*time.Location, error) {
	name := f.Get("zone")
	if name == "" || name == "Local" { // which Go reads as UTC, and as that of the server
		return nil, errZone
	}
	return time.LoadLocation(name)
}

// terms reads when a share holds; what is wrong is noted in the form.
func (v *visit) terms(e *editor) (map[string]any, bool) {
	f, terms := &e.Form, map[string]any{}
	zone, err := typedZone(e.Form)
	if err != nil {
		f.Wrong["zone"] = v.t("terms.wrong.zone")
		zone = time.UTC
	}
	for _, name := range []string{"from", "until"} {
		if f.Get(name) == "" {
			continue
		}
		at, err := parseMinute(f.Get(name), zone)
		if err != nil {
			f.Wrong[name] = v.t("terms.wrong.time")
			continue
		}
		terms[name] = at.UTC().Format(time.RFC3339)
	}
	playback := map[string]any{}
	if text := strings.TrimSpace(f.Get("last_days")); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 3650 {
			f.Wrong["last_days"] = v.t("terms.wrong.days")
		}
		playback["last_days"] = n
	}
	if f.Get("since_acceptance") != "" {
		playback["since_acceptance"] = true
	}
	if len(playback) > 0 {
		terms["playback"] = playback
	}
	var spans []any
	for _, s := range e.Spans {
		var on []string
		for _, d := range days {
			if s.On[string(d)] {
				on = append(on, string(d))
			}
		}
		end := strings.Replace(s.End, "00:00", "24:00", 1)
		if len(on) == 0 || s.Start == "" || end == "" || s.Start == end {
			f.Wrong["span"] = v.t("terms.wrong.span")
			continue
		}
		spans = append(spans, map[string]any{"days": on, "start": s.Start, "end": end})
	}
	if len(spans) > 0 {
		terms["hours"] = map[string]any{"zone": f.Get("zone"), "spans": spans}
	}
	return terms, len(f.Wrong) == 0
}

func parseMinute(text string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{minutes, minutes + ":05"} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errTime
}

// devicesOf are the devices of a form, as the API takes them. A channel that was shared and
// has no tick any more stays, and nothing may be done with it.
func (s sentForm) devicesOf() []map[string]any {
	list := []map[string]any{}
	for _, device := range s.order {
		if s.remove[device] {
			continue
		}
		var channels []int
		for c := range s.on[device] {
			channels = append(channels, c)
		}
		for c := range s.had[device] {
			if _, ok := s.on[device][c]; !ok {
				channels = append(channels, c)
			}
		}
		slices.Sort(channels)
		grants := []map[string]any{}
		for _, c := range channels {
			set := slices.Compact(slices.Sorted(slices.Values(s.on[device][c])))
			grants = append(grants, map[string]any{"channel": c, "privileges": append([]client.Privilege{}, set...)})
		}
		list = append(list, map[string]any{"device": device, "channels": grants})
	}
	for _, device := range s.gone {
		if !slices.Contains(s.order, device) {
			list = append(list, map[string]any{"device": device, "channels": []any{}})
		}
	}
	return list
}

var termFields = []string{"from", "until", "zone", "last_days", "since_acceptance"}

// without does what the form asks for besides saving: it adds a device, or fills the ticks
// by a preset.
func (v *visit) without(e *editor, s client.Share, sent *sentForm) (done bool, _ error) {
	do := v.r.PostForm.Get("do")
	switch preset, isPreset := strings.CutPrefix(do, "preset:"); {
	case isPreset:
		if err := v.preset(e, preset, sent); err != nil {
			return true, err
		}
	case do == "add":
		added := v.r.PostForm.Get("add")
		if added != "" && !slices.Contains(sent.order, added) {
			if err := v.addDevice(added, sent); err != nil {
				return true, err
			}
		}
	default:
		return false, nil
	}
	return true, v.editAgain(e, s, *sent, http.StatusOK)
}

// addDevice adds a device to the form, with what is ticked at first.
func (v *visit) addDevice(device string, sent *sentForm) error {
	a, err := v.api.GetShareFormWithResponse(v.ctx(), &client.GetShareFormParams{Device: device})
	if err != nil {
		return err
	}
	for _, d := range a.JSON200.Items {
		sent.order = append(sent.order, d.Device)
		for _, c := range d.Channels {
			sent.on.put(d.Device, c.Channel, c.Defaults...)
		}
	}
	return nil
}

// preset ticks what a preset gives on every channel of the form that is able to.
func (v *visit) preset(e *editor, id string, sent *sentForm) error {
	found, _, presets, err := v.offered(sent.order)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(presets, func(p client.Preset) bool { return p.ID == id })
	if i < 0 {
		return errNoPage
	}
	for _, device := range sent.order {
		sent.on[device] = map[int][]client.Privilege{}
		for _, c := range found[device].Channels {
			for _, p := range presets[i].Privileges {
				if slices.Contains(c.Privileges, p) {
					sent.on.put(device, c.Channel, p)
				}
			}
		}
	}
	if seconds := presets[i].Seconds; seconds > 0 {
		zone, err := time.LoadLocation(e.Form.Get("zone"))
		if err != nil {
			zone = time.UTC
		}
		e.Form.Values["until"] = v.cfg.Now().Add(time.Duration(seconds) * time.Second).In(zone).Format(minutes)
		e.TermsOpen = true
	}
	return nil
}
