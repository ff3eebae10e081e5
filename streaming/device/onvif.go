package device

import (
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // WS-UsernameToken is made with it
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"latchkey/domain/privilege"
)

const (
	deviceNS = "http://www.onvif.org/ver10/device/wsdl"
	mediaNS  = "http://www.onvif.org/ver10/media/wsdl"
	// maxClock is the maximum believable offset of a device's clock.
	maxClock = 50 * 365 * 24 * time.Hour
)

// onvif reads the facts from ONVIF.
type onvif struct {
	*httpSession
	ahead time.Duration // of the device's clock
	token bool          // credentials go into the message
	// header is added to that of each message.
	header string
}

func (p *proof) onvif(ctx context.Context, facts *Facts) error {
	s, err := newHTTPSession(ctx, p, ONVIF, p.target.ONVIFURL)
	if err != nil {
		return err
	}
	defer s.close()
	o := &onvif{httpSession: s}
	path := s.onvifPath()
	if err := o.clock(ctx, path); err != nil {
		return err
	}
	facts.ClockAhead = o.ahead
	if err := o.info(ctx, path, facts); err != nil {
		return err
	}
	_ = o.capabilities(ctx, path, facts) // optional; facts that it does not report stay unknown
	return nil
}

// clock reads the device's time, which needs no credentials: the tokens of later requests
// contain it.
func (o *onvif) clock(ctx context.Context, path string) error {
	body, err := o.send(ctx, path, deviceNS, "GetSystemDateAndTime", "")
	if err != nil {
		return err
	}
	at := body.find("GetSystemDateAndTimeResponse", "SystemDateAndTime")
	if at == nil && body.find("Fault") == nil {
		return fail(Unsupported, ONVIF)
	}
	if told, ok := timeOf(at.find("UTCDateTime")); ok {
		if ahead := told.Sub(o.proof.client.cfg.Now()); ahead > -maxClock && ahead < maxClock {
			o.ahead = ahead.Truncate(time.Second)
		}
	}
	return nil
}

func timeOf(e *element) (time.Time, bool) {
	var parts [6]int
	for i, path := range [][]string{{"Date", "Year"}, {"Date", "Month"}, {"Date", "Day"}, {"Time", "Hour"}, {"Time", "Minute"}, {"Time", "Second"}} {
		n, err := strconv.Atoi(e.words(path...))
		if err != nil || n < 0 || n > 9999 {
			return time.Time{}, false
		}
		parts[i] = n
	}
	return time.Date(parts[0], time.Month(parts[1]), parts[2], parts[3], parts[4], parts[5], 0, time.UTC), true
}

// info first requests without credentials: a device that requires them names the scheme.
// If it then refuses, no other is tried.
func (o *onvif) info(ctx context.Context, path string, facts *Facts) error {
	const operation = "GetDeviceInformation"
	body, err := o.send(ctx, path, deviceNS, operation, "")
	if err != nil {
		return err
	}
	if unauthorised(body) {
		if o.proof.target.Username == "" || o.sent > 0 {
			return fail(WrongPassword, ONVIF)
		}
		tried, err := o.proof.mayTry(ctx, o.addr, ONVIF)
		if err != nil {
			return err
		}
		o.token = true
		if body, err = o.send(ctx, path, deviceNS, operation, ""); err != nil {
			return err
		}
		if unauthorised(body) {
			return fail(WrongPassword, ONVIF)
		}
		tried.accepted()
	}
	info := body.find(operation + "Response")
	if info == nil {
		return fail(Unsupported, ONVIF)
	}
	keep := func(fact *string, said string) {
		if *fact == "" {
			*fact = said
		}
	}
	keep(&facts.Serial, info.words("SerialNumber"))
	keep(&facts.Model, info.words("Model"))
	keep(&facts.Firmware, info.words("FirmwareVersion"))
	return nil
}

// capabilities finds out whether the device moves, reports alarms, and plays recordings;
// and from its profiles, which of its cameras move.
func (o *onvif) capabilities(ctx context.Context, path string, facts *Facts) error {
	body, err := o.send(ctx, path, deviceNS, "GetCapabilities", "<Category>All</Category>")
	if err != nil {
		return err
	}
	caps := body.find("GetCapabilitiesResponse", "Capabilities")
	if caps == nil {
		return nil
	}
	media, err := url.Parse(caps.words("Media", "XAddr"))
	if err != nil || media.Path == "" {
		media = &url.URL{Path: path}
	}
	moves := caps.find("PTZ", "XAddr") != nil
	sources, err := o.sources(ctx, media.Path) // on the host that we were given, whatever it reports
	if err != nil {
		return err
	}
	for i, moving := range sources {
		c := facts.channel(i + 1)
		if c == nil {
			break
		}
		c.learn(privilege.PTZ, moves && moving)
	}
	for n := range facts.Channels {
		c := &facts.Channels[n]
		c.learn(privilege.Alarm, caps.find("Events", "XAddr") != nil)
		if caps.find("Extension", "Replay", "XAddr") != nil {
			c.learn(privilege.Playback, true)
		}
		if !moves {
			c.learn(privilege.PTZ, false)
		}
	}
	return nil
}

// sources returns the cameras, in the order of the profiles, and whether each moves.
func (o *onvif) sources(ctx context.Context, path string) ([]bool, error) {
	body, err := o.send(ctx, path, mediaNS, "GetProfiles", "")
	if err != nil {
		return nil, err
	}
	var moving []bool
	at := map[string]int{}
	for _, profile := range body.find("GetProfilesResponse").all("Profiles") {
		source := profile.words("VideoSourceConfiguration", "SourceToken")
		if source == "" {
			continue
		}
		i, known := at[source]
		if !known {
			i = len(moving)
			at[source], moving = i, append(moving, false)
		}
		moving[i] = moving[i] || profile.find("PTZConfiguration") != nil
	}
	return moving, nil
}

// send calls an operation and returns the body of the response.
func (o *onvif) send(ctx context.Context, path, namespace, operation, arguments string) (*element, error) {
	head := o.header
	if o.token {
		head += o.security()
	}
	text := `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header>` + head +
		`</s:Header><s:Body><` + operation + ` xmlns="` + namespace + `">` + arguments + `</` + operation + `></s:Body></s:Envelope>`
	header := http.Header{"Content-Type": {`application/soap+xml; charset=utf-8; action="` + namespace + "/" + operation + `"`}}
	a, err := o.call(ctx, http.MethodPost, path, []byte(text), header)
	if err != nil {
		return nil, err
	}
	body := a.xml.find("Body")
	switch {
	case a.status == http.StatusUnauthorized: // without a challenge: it requires a token, whatever the text
		return notAuthorized, nil
	case a.xml == nil || a.xml.name != "Envelope" || body == nil:
		return nil, fail(Unsupported, ONVIF)
	}
	return body, nil
}

// notAuthorized is the body of a refusing response.
var notAuthorized = &element{name: "Body", children: []*element{{name: "Fault", children: []*element{{name: "faultcode", text: "NotAuthorized"}}}}}

// security returns the token of WS-Security, with the device's own time.
func (o *onvif) security() string {
	const wsse = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // cannot fail: it ends the program instead
	created := o.proof.client.cfg.Now().Add(o.ahead).UTC().Format("2006-01-02T15:04:05.000Z")
	sum := sha1.Sum([]byte(string(nonce) + created + o.proof.target.Password)) //nolint:gosec // as above
	encode := base64.StdEncoding.EncodeToString
	return `<w:Security xmlns:w="` + wsse + `wssecurity-secext-1.0.xsd" xmlns:u="` + wsse + `wssecurity-utility-1.0.xsd" s:mustUnderstand="1"><w:UsernameToken>` +
		`<w:Username>` + escaped(o.proof.target.Username) + `</w:Username>` +
		`<w:Password Type="` + wsse + `username-token-profile-1.0#PasswordDigest">` + encode(sum[:]) + `</w:Password>` +
		`<w:Nonce EncodingType="` + wsse + `soap-message-security-1.0#Base64Binary">` + encode(nonce) + `</w:Nonce>` +
		`<u:Created>` + created + `</u:Created></w:UsernameToken></w:Security>`
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a builder takes everything
	return b.String()
}

// unauthorised reports whether a response means that credentials are wrong or missing.
func unauthorised(body *element) bool {
	fault := body.find("Fault")
	if fault == nil {
		return false
	}
	code := fault.words("Code", "Subcode", "Value") + " " + fault.words("Code", "Subcode", "Subcode", "Value") + " " + fault.words("faultcode")
	for _, word := range []string{"NotAuthorized", "FailedAuthentication", "FailedCheck"} {
		if strings.Contains(code, word) {
			return true
		}
	}
	return false
}
