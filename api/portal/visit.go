package portal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"latchkey/api/client"
)

// visit is one request of a browser.
type visit struct {
	*Portal
	w http.ResponseWriter
	r *http.Request

	*language
	api     *client.Service
	before  uint64 // the position that api knew at first
	token   string // of the session, "" for none
	visitor string // "" for none
	theme   string // light, dark, or "" for the system's
	zone    *time.Location
}

func (p *Portal) visit(w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{Portal: p, w: w, r: r, zone: time.UTC}
	v.language = p.languageOf(cookieValue(r, cookieLanguage), r.Header.Get("Accept-Language"))
	v.token, v.visitor = proven(r, cookieSession), proven(r, cookieVisitor)
	if theme := cookieValue(r, cookieTheme); theme == "light" || theme == "dark" {
		v.theme = theme
	}
	if zone, err := url.QueryUnescape(cookieValue(r, cookieZone)); err == nil && zone != "" && zone != "Local" && len(zone) <= 64 {
		if l, err := time.LoadLocation(zone); err == nil {
			v.zone = l
		}
	}
	v.api = p.service(r, v.tag)
	v.before = v.api.Position()
	if v.token != "" {
		v.api = v.api.As(v.token)
	}
	return v
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// Refusals of the portal itself.
var (
	errNoPage    = errors.New("there is no such page")
	errLoggedOut = errors.New("nobody is logged in")
	errForged    = errors.New("the form does not come from a page of the portal")
	errTooLarge  = errors.New("the form is too large")
)

const (
	maxForm      = 64 << 10 // of most pages
	maxShareForm = 2 << 20  // of a share, with a box for each privilege of each channel
)

// answer runs a handler. Forms are read and checked first.
func (v *visit) answer(h handler) {
	err := v.readForm(maxForm)
	if err == nil {
		err = h(v)
	}
	if err != nil {
		v.fail(err)
	}
}

// readForm reads the form of a POST, which must be one of this browser's.
func (v *visit) readForm(most int64) error {
	if v.r.Method != http.MethodPost {
		return nil
	}
	if strings.HasPrefix(v.r.URL.Path, "/my-shares") && v.token != "" {
		if v.r.ContentLength < 0 || v.r.ContentLength > most { // the cookie alone proves nothing
			if _, err := v.account(); err != nil {
				return err
			}
		}
		most = maxShareForm
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, most)
	if err := v.r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return errTooLarge
		}
		return errForged
	}
	if !v.genuine(v.r.PostForm.Get("csrf")) {
		return errForged
	}
	return nil
}

// fail answers with a page that says what went wrong and what to do next.
func (v *visit) fail(err error) {
	if errors.Is(err, errLoggedOut) || client.HasCode(err, "unauthenticated") {
		v.toLogin()
		return
	}
	status, code := http.StatusInternalServerError, "internal"
	switch refused, ok := errors.AsType[*client.Error](err); {
	case errors.Is(err, errNoPage):
		status, code = http.StatusNotFound, "no_page"
	case errors.Is(err, errForged):
		status, code = http.StatusForbidden, "forged"
	case errors.Is(err, errTooLarge):
		status, code = http.StatusRequestEntityTooLarge, "body_too_large"
	case ok:
		status, code = refused.Status, refused.Code
	default:
		v.cfg.Logger.Error("a page could not be made", "path", v.r.Pattern, "error", err)
	}
	data := failure{Status: status, Detail: v.t("problem.no_page")}
	if code != "no_page" {
		data.Detail = v.problem(err, code)
	}
	data.Retry = v.r.Method == http.MethodGet && status >= http.StatusInternalServerError
	if wait := retryAfter(err); wait != "" {
		v.w.Header().Set("Retry-After", wait)
	}
	if !accepts(v.r) && v.r.Method == http.MethodGet {
		http.Error(v.w, data.Detail, status)
		return
	}
	err = v.render(status, "failure", v.t("failure.title"), data)
	if client.HasCode(err, "unauthenticated") { // the page looked up the session first
		v.toLogin()
		return
	}
	if err != nil {
		v.cfg.Logger.Error("a page could not be made", "path", v.r.Pattern, "error", err)
		http.Error(v.w, data.Detail, status)
	}
}

// failure is the data of the page for errors.
type failure struct {
	Status int
	Detail string
	Retry  bool // asking again may help
}

func retryAfter(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok && e.RetryAfter > 0 {
		return strconv.Itoa(int(e.RetryAfter.Seconds()))
	}
	return ""
}

// toLogin sends a browser whose session has ended to the log-in and then back.
func (v *visit) toLogin() {
	if v.token != "" {
		v.dropProof(cookieSession)
	}
	to := "/login"
	if v.r.Method == http.MethodGet && v.r.URL.Path != "/" {
		to += "?" + url.Values{"next": {v.r.URL.RequestURI()}}.Encode()
	}
	v.redirect(to)
}

// redirect sends the browser to a page with GET.
func (v *visit) redirect(to string) {
	if at := v.api.Position(); at > v.before {
		v.set(cookiePosition, strconv.FormatUint(at, 10), positionFor)
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
}

// local returns a path of the portal that a browser may be sent to, or the other one.
// It begins with one slash: //host and /\host are addresses of others.
func local(path, otherwise string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(path, "/") || len(path) > 1024 ||
		strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") || strings.HasPrefix(u.Path, "//") {
		return otherwise
	}
	return path
}

// query is a query of pairs of names and values, without those that are empty.
func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q.Encode()
}

// said is what a page says that was done before it, as a key of the words and its values.
type said struct {
	Key  string   `json:"k"`
	Args []string `json:"a,omitempty"`
}

const maxSaid = 1024 // bytes of the cookie

// say lets the next page say that something was done: the words said.<key>, with pairs of
// names and values.
func (v *visit) say(key string, args ...string) {
	raw, err := json.Marshal(said{key, args})
	if text := base64.RawURLEncoding.EncodeToString(raw); err == nil && len(text) <= maxSaid {
		v.set(cookieSaid, text, 30)
	}
}

// takeSaid returns what was done before, "" for nothing, and forgets it.
func (v *visit) takeSaid() string {
	text := cookieValue(v.r, cookieSaid)
	if text == "" {
		return ""
	}
	v.set(cookieSaid, "", 0)
	raw, err := base64.RawURLEncoding.DecodeString(text)
	var s said
	if err != nil || len(text) > maxSaid || json.Unmarshal(raw, &s) != nil || !v.has("said."+s.Key) || len(s.Args)%2 != 0 {
		return ""
	}
	args := make([]any, len(s.Args))
	for i, a := range s.Args {
		args[i] = a
	}
	return v.t("said."+s.Key, args...)
}

// stamp is an instant in the zone of the browser.
type stamp struct{ ISO, Text string }

// at formats an instant; the zero time is no stamp.
func (v *visit) at(t time.Time) *stamp {
	if t.IsZero() {
		return nil
	}
	text := t.In(v.zone).Format(v.t("format.time"))
	if v.zone == time.UTC {
		text += " UTC"
	}
	return &stamp{t.UTC().Format(time.RFC3339), text}
}
