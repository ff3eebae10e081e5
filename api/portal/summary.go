package portal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"latchkey/api/client"
)

// namedCameras is how many cameras a sentence names; more are counted.
const namedCameras = 3

// summary says in words what somebody may do once a form is saved, one sentence for each
// device and set of functions, and then when.
func (v *visit) summary(e *editor, who string, terms client.Terms) []string {
	who = strings.TrimSpace(who)
	if who == "" {
		who = v.t("summary.they")
	}
	var list []string
	given := false
	for _, card := range e.Cards {
		if card.Remove {
			list = append(list, v.t("summary.removed", "who", who, "device", card.Name))
			continue
		}
		sentences := v.summaryOf(card, who)
		given = given || len(sentences) > 0
		if len(sentences) == 0 {
			sentences = []string{v.t("summary.nothing", "who", who, "device", card.Name)}
		}
		list = append(list, sentences...)
	}
	if !given {
		return list
	}
	zone := v.zone
	if typed, err := typedZone(e.Form); err == nil {
		zone = typed
	}
	list = append(list, v.whenIn(terms, zone)...)
	if e.Path == "" {
		list = append(list, v.t("summary.accept", "who", who))
	}
	return list
}

// summaryOf says what may be done on the cameras of a device that have a tick.
func (v *visit) summaryOf(card deviceCard, who string) []string {
	type same struct {
		what    string
		cameras []string
	}
	var sets []same
	for _, c := range card.Channels {
		var on []client.Privilege
		for _, b := range c.Boxes {
			if b.On {
				on = append(on, b.Privilege)
			}
		}
		if len(on) == 0 {
			continue
		}
		what := v.verbs(on)
		i := slices.IndexFunc(sets, func(s same) bool { return s.what == what })
		if i < 0 {
			sets = append(sets, same{what: what})
			i = len(sets) - 1
		}
		sets[i].cameras = append(sets[i].cameras, c.Name)
	}
	var list []string
	for _, s := range sets {
		switch {
		case len(s.cameras) == len(card.Channels):
			list = append(list, v.t("summary.device", "who", who, "device", card.Name, "what", s.what))
		case len(s.cameras) <= namedCameras:
			list = append(list, v.t("summary.cameras", "who", who, "device", card.Name, "what", s.what, "cameras", v.and(s.cameras)))
		default:
			list = append(list, v.t("summary.cameras", "who", who, "device", card.Name, "what", s.what, "cameras", v.n("sent.cameras", len(s.cameras))))
		}
	}
	return list
}

// verbs says what privileges let somebody do.
func (v *visit) verbs(set []client.Privilege) string {
	var parts []string
	for _, p := range privileges {
		if slices.Contains(set, p) {
			parts = append(parts, v.t("summary.can."+string(p)))
		}
	}
	return v.and(parts)
}

// and joins parts of a sentence.
func (v *visit) and(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " " + v.t("and") + " " + parts[last]
}

// summaryInto puts the words for what is in a form as it was typed into an editor. Of times
// that are wrong it says nothing.
func (v *visit) summaryInto(e *editor) error {
	var terms client.Terms
	if raw, ok := v.termsTyped(e); ok {
		var err error
		if terms, err = termsOf(raw); err != nil {
			return err
		}
	}
	who := e.Name
	if e.Path == "" {
		email, phone := v.address()
		who = email + phone
	}
	e.Summary = v.summary(e, who, terms)
	return nil
}

// termsTyped are the terms of a form; what is wrong is not noted in it.
func (v *visit) termsTyped(e *editor) (map[string]any, bool) {
	copied := *e
	copied.Form.Wrong = map[string]string{}
	return v.terms(&copied)
}

// summarize answers the script of a form with the words for what is in it.
func summarize(v *visit) error {
	e := &editor{Form: v.typed(append([]string{"remark"}, termFields...)...)}
	if v.r.PostForm.Get("etag") != "" { // it is saved already
		e.Path, e.Name = "/my-shares", v.r.PostForm.Get("who")
	}
	sent := v.posted(e)
	if err := v.fill(e, client.Share{}, sent.order, sent.on, sent.had, sent.remove); err != nil {
		return err
	}
	if err := v.summaryInto(e); err != nil {
		return err
	}
	lines, err := json.Marshal(e.Summary)
	if err != nil {
		return fmt.Errorf("writing a summary: %w", err)
	}
	v.w.Header().Set("Content-Type", "application/json")
	_, _ = v.w.Write(lines) // the browser may be gone
	return nil
}

// termsOf reads terms that are written as the API takes them.
func termsOf(raw map[string]any) (client.Terms, error) {
	var terms client.Terms
	text, err := json.Marshal(raw)
	if err == nil {
		err = json.Unmarshal(text, &terms)
	}
	if err != nil {
		return terms, fmt.Errorf("reading the terms of a form: %w", err)
	}
	return terms, nil
}
