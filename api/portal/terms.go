package portal

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"latchkey/api/client"
)

// privileges are all of them, in the order in which pages show them.
var privileges = []client.Privilege{"live_view", "playback", "two_way_audio", "ptz", "alarm"}

// days are those of the week, in their order.
var days = []client.HoursSpansDays{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// functions names privileges in one line, in the usual order.
func (v *visit) functions(set []client.Privilege) string {
	var names []string
	for _, p := range privileges {
		if slices.Contains(set, p) {
			names = append(names, v.t("privilege."+string(p)))
		}
	}
	if len(names) == 0 {
		return v.t("privileges.none")
	}
	return strings.Join(names, ", ")
}

// allOf returns what may be done on any of the channels.
func allOf(channels []client.Grant) []client.Privilege {
	var all []client.Privilege
	for _, c := range channels {
		all = append(all, c.Privileges...)
	}
	return all
}

// zoneOf returns the time zone in which times next to weekly hours are told and edited:
// theirs, or that of the browser if there are none.
func (v *visit) zoneOf(hours client.Hours) *time.Location {
	if hours.Zone == "" {
		return v.zone
	}
	zone, err := time.LoadLocation(hours.Zone)
	if err != nil {
		return v.zone
	}
	return zone
}

// timeIn formats an instant by the clocks of a zone, which it names: when a share ends may
// be read by people in several.
func (v *visit) timeIn(t time.Time, zone *time.Location) string {
	text := t.In(zone).Format(v.t("format.time"))
	if zone == time.UTC {
		return text + " UTC"
	}
	return text + " (" + zone.String() + ")"
}

// when says in words when terms hold, one sentence for each condition.
func (v *visit) when(terms client.Terms) []string { return v.whenIn(terms, v.zoneOf(terms.Hours)) }

// whenIn is when, with the times in a zone.
func (v *visit) whenIn(terms client.Terms, zone *time.Location) []string {
	list := v.span(terms.From, terms.Until, terms.Hours, zone)
	if n := terms.Playback.LastDays; n > 0 {
		list = append(list, v.n("terms.last_days", n))
	}
	if terms.Playback.SinceAcceptance {
		list = append(list, v.t("terms.since_acceptance"))
	}
	return list
}

// limits says in words what restricts single privileges of a channel.
func (v *visit) limits(g client.Grant) []string {
	var list []string
	for _, l := range g.Limits {
		for _, text := range v.span(l.From, l.Until, l.Hours, v.zoneOf(l.Hours)) {
			list = append(list, v.functions(l.Privileges)+": "+text)
		}
	}
	if g.PlaybackDelay > 0 {
		list = append(list, v.t("terms.delay", "wait", v.wait(time.Duration(g.PlaybackDelay)*time.Second)))
	}
	return list
}

func (v *visit) span(from, until time.Time, hours client.Hours, zone *time.Location) []string {
	var list []string
	if !from.IsZero() {
		list = append(list, v.t("terms.from", "time", v.timeIn(from, zone)))
	}
	if !until.IsZero() {
		list = append(list, v.t("terms.until", "time", v.timeIn(until, zone)))
	}
	for _, s := range hours.Spans {
		list = append(list, v.t("terms.hours", "days", v.week(s.Days), "start", s.Start, "end", s.End, "zone", hours.Zone))
	}
	return list
}

// week names days of the week, three and more in a row by the first and the last.
func (v *visit) week(set []client.HoursSpansDays) string {
	name := func(i int) string { return v.t("day." + string(days[i])) }
	var parts []string
	for i := 0; i < len(days); {
		if !slices.Contains(set, days[i]) {
			i++
			continue
		}
		last := i
		for last+1 < len(days) && slices.Contains(set, days[last+1]) {
			last++
		}
		switch {
		case last-i >= 2:
			parts = append(parts, name(i)+"–"+name(last))
		case last > i:
			parts = append(parts, name(i), name(last))
		default:
			parts = append(parts, name(i))
		}
		i = last + 1
	}
	return strings.Join(parts, ", ")
}

// personName returns what somebody is called: their name, else their address.
func (v *visit) personName(p client.Person) string {
	return cmp.Or(p.Name, p.Email, p.Phone, v.t("person.unknown"))
}

// personAddress returns somebody's address, "" if that is what they are called.
func personAddress(p client.Person) string {
	if p.Name == "" {
		return ""
	}
	return cmp.Or(p.Email, p.Phone)
}

// recipientName returns the address of a recipient.
func (v *visit) recipientName(r client.ShareRecipient) string {
	return cmp.Or(r.Email, r.Phone, v.t("person.unknown"))
}
