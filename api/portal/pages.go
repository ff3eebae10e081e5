package portal

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"latchkey/api/client"
)

//go:embed templates/*.html
var templateFiles embed.FS

// view is what a template is executed with.
type view struct {
	Title    string
	Lang     string
	Tags     []string // of the languages to choose from
	Theme    string
	Zone     string
	Path     string // of this page, to come back to
	CSRF     string
	Mark     string // of the session
	Key      string // of the command that the page may send
	Said     string
	Session  bool
	Section  string // of the bar
	Sections []section
	Sharings int               // that wait for an answer
	Badges   map[string]*badge // of sections
	Data     any
}

// parsed returns the template of a page, which is parsed when it is first asked for.
type parsed func() (*template.Template, error)

// pagesOf returns the pages with the words of a language. Every file that does not begin
// with an underscore is a page.
func pagesOf(l *language, a assets) (map[string]parsed, error) {
	funcs := template.FuncMap{
		"t": l.t, "n": l.n, "asset": a.path, "icon": icon, "args": args, "words": l.block,
		"languageName": func(tag string) string { return languageNames[tag] },
	}
	base := sync.OnceValues(func() (*template.Template, error) {
		return template.New("").Funcs(funcs).Option("missingkey=error").ParseFS(templateFiles, "templates/_*.html")
	})
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("reading the templates: %w", err)
	}
	pages := map[string]parsed{}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "_") {
			continue
		}
		pages[strings.TrimSuffix(f.Name(), ".html")] = sync.OnceValues(func() (*template.Template, error) {
			t, err := base()
			if err == nil {
				t, err = t.Clone()
			}
			if err != nil {
				return nil, err
			}
			return t.ParseFS(templateFiles, path.Join("templates", f.Name()))
		})
	}
	return pages, nil
}

// languageNames are the languages as their speakers call them.
var languageNames = map[string]string{"en": "English", "de": "Deutsch", pseudo: "Pseudo"}

// args makes the one value of a template of names and values.
func args(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("args: a name without a value")
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("args: %v is not a name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// page answers with a page.
func (v *visit) page(name, title string, data any) error {
	return v.render(http.StatusOK, name, title, data)
}

// render answers with a page and a status.
func (v *visit) render(status int, name, title string, data any) error {
	sharings, badges, err := v.badges()
	if err != nil {
		return err
	}
	all := view{
		Title: title, Lang: v.tag, Theme: v.theme, Zone: v.zone.String(), Path: v.r.URL.RequestURI(),
		CSRF: csrf(v.formSecret()), Key: client.NewKey(),
		Session: v.token != "", Sections: sections, Sharings: sharings, Badges: badges, Data: data,
	}
	if all.Session {
		all.Mark = markOf(v.token)
	}
	if v.r.Header.Get(refreshHeader) == "" { // a page that looks again must not take what the next one says
		all.Said = v.takeSaid()
	}
	for _, l := range v.languages {
		all.Tags = append(all.Tags, l.tag)
	}
	for _, s := range sections {
		if v.r.URL.Path == s.Path || strings.HasPrefix(v.r.URL.Path, s.Path+"/") {
			all.Section = s.Name
		}
	}
	if v.r.Method != http.MethodGet {
		all.Path = v.r.URL.Path
	}
	page, err := v.pages[name]()
	var b bytes.Buffer
	if err == nil {
		err = page.ExecuteTemplate(&b, "page", all)
	}
	if err != nil {
		return fmt.Errorf("making the page %s: %w", name, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Content-Language", v.tag)
	v.w.WriteHeader(status)
	_, _ = v.w.Write(b.Bytes()) // the browser may be gone
	return nil
}

// badge is a number at a section of the bar, and what it counts.
type badge struct{ Number, Words string }

// mostBadge is the largest number of a badge; more are 99+.
const mostBadge = 99

func (v *visit) badge(words string, n int) *badge {
	if n > mostBadge {
		return &badge{strconv.Itoa(mostBadge) + "+", v.n(words, n)}
	}
	return &badge{strconv.Itoa(n), v.n(words, n)}
}

// badges returns how many sharings wait for an answer, and the badges of the bar. A page is
// not kept from anybody because a badge cannot be had; a session that has ended is an error.
func (v *visit) badges() (sharings int, _ map[string]*badge, _ error) {
	if v.token == "" {
		return 0, nil, nil
	}
	list := map[string]*badge{}
	a, err := v.api.ListInvitationsWithResponse(v.ctx(), &client.ListInvitationsParams{Limit: 1})
	if client.HasCode(err, "unauthenticated") {
		return 0, nil, err
	}
	if err == nil && a.JSON200.Count > 0 {
		sharings = int(a.JSON200.Count)
		list["received"] = v.badge("nav.sharings", sharings)
	}
	unseen := false
	b, err := v.api.ListAlarmsWithResponse(v.ctx(), &client.ListAlarmsParams{Acknowledged: &unseen, Limit: mostBadge + 1})
	if err == nil && len(b.JSON200.Items) > 0 {
		list["alarms"] = v.badge("nav.unseen", len(b.JSON200.Items))
	}
	return sharings, list, nil
}

// form is what somebody typed, and what is wrong with it.
type form struct {
	Values map[string]string
	Wrong  map[string]string // by the name of the field
	Fault  string            // of all of it
}

// newForm returns a form with values, as pairs.
func newForm(pairs ...string) form {
	f := form{Values: map[string]string{}, Wrong: map[string]string{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		f.Values[pairs[i]] = pairs[i+1]
	}
	return f
}

// typed returns the form that was sent. Passwords and codes are never sent back.
func (v *visit) typed(names ...string) form {
	f := newForm()
	for _, name := range names {
		f.Values[name] = v.r.PostForm.Get(name)
	}
	return f
}

// Get is for templates: a field that was not typed is empty.
func (f form) Get(name string) string { return f.Values[name] }

// Has reports whether a field has a value.
func (f form) Has(name, value string) bool { return f.Values[name] == value }

// WrongWith returns what is wrong with a field, "" for nothing.
func (f form) WrongWith(name string) string { return f.Wrong[name] }

// refused notes in a form why the API refused it, and returns the status of the page; 0
// for an error that is not about the form and has a page of its own. fields gives the
// form's name for the last part of an API's field where it differs.
func (v *visit) refused(f *form, err error, fields map[string]string) int {
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Code == "unauthenticated" || e.Status >= http.StatusInternalServerError && e.Code != "passwords_busy" {
		return 0
	}
	for pointer, reason := range e.Errors {
		name := fieldOf(pointer)
		if renamed, ok := fields[name]; ok {
			name = renamed
		}
		f.Wrong[name] = v.reason(reason)
	}
	f.Fault = v.problem(err, e.Code)
	return e.Status
}

// again answers with the form as it was typed and what is wrong with it, or with the error
// if that has another reason.
func (v *visit) again(page, title string, f *form, data any, err error, fields map[string]string) error {
	status := v.refused(f, err, fields)
	if status == 0 {
		return err
	}
	if wait := retryAfter(err); wait != "" {
		v.w.Header().Set("Retry-After", wait)
	}
	return v.render(status, page, title, data)
}
