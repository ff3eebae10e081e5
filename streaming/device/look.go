package device

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"latchkey/streaming/rtspclient"
)

// Typed is what a person knows of a device: where it is, and how to log in to it.
type Typed struct {
	Account string // whose proofs are counted together
	// Address is a host, with a port or without, or an address by rtsp, rtsps, http or
	// https. Credentials in it are used if Username and Password are empty.
	Address            string
	Username, Password string
	Certificate        rtspclient.Fingerprint // that the owner has confirmed; zero: it must be valid
}

// Found is how a device is reached, and what it is. The addresses have no credentials.
type Found struct {
	Username, Password string // that it accepts
	RTSPURL            string // of the main stream of its first camera
	ISAPIURL, ONVIFURL string // "" for none
	Facts              Facts
	Picture            []byte // of its first camera, JPEG; nil: it gives none
}

// lookWithin limits a look, which has several questions.
const lookWithin = 20 * time.Second

// firstStream is the path of the first camera on Hikvision devices, and on many others.
const firstStream = "/Streaming/Channels/101"

// Look finds out what is at an address: by ONVIF where the stream is, else where most
// devices have it; then it proves the device, and gets a picture. Nothing is sent to
// another host than that of the address. The error is a *Failure.
func (c *Client) Look(ctx context.Context, t Typed) (Found, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	u, bare, err := t.parse()
	if err != nil {
		return Found{}, err
	}
	if t.Username == "" && t.Password == "" && u.User != nil {
		t.Username = u.User.Username()
		t.Password, _ = u.User.Password()
	}
	u.User, u.Fragment = nil, ""
	f := Found{Username: t.Username, Password: t.Password}
	if u.Scheme == "rtsp" || u.Scheme == "rtsps" {
		f.RTSPURL = u.String()
		f.ONVIFURL = "http://" + bracketed(u.Hostname())
		f.ISAPIURL = f.ONVIFURL
	} else if err := c.findStream(ctx, t, u, bare, &f); err != nil {
		return Found{}, err
	}
	if err := c.proveFound(ctx, t, &f); err != nil {
		return Found{}, err
	}
	cam := Camera{Username: f.Username, Password: f.Password, ISAPIURL: f.ISAPIURL, ONVIFURL: f.ONVIFURL, Certificate: t.Certificate}
	f.Picture, _, _ = c.Picture(ctx, cam, 1, nil) // not every device has one
	return f, nil
}

// parse returns the address as a URL; bare if it had no scheme.
func (t Typed) parse() (u *url.URL, bare bool, err error) {
	text := strings.TrimSpace(t.Address)
	if bare = !strings.Contains(text, "://"); bare {
		text = "http://" + text
	}
	u, err = url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Opaque != "" {
		return nil, bare, fail(Unsupported, "")
	}
	switch u.Scheme {
	case "rtsp", "rtsps", "http", "https":
		return u, bare, nil
	}
	return nil, bare, fail(Unsupported, "")
}

// findStream finds the address of the stream of a device that speaks HTTP, or guesses it.
func (c *Client) findStream(ctx context.Context, t Typed, u *url.URL, bare bool, f *Found) error {
	web := url.URL{Scheme: u.Scheme, Host: u.Host}
	f.ISAPIURL, f.ONVIFURL = web.String(), web.String()
	if strings.Contains(strings.ToLower(u.Path), "onvif") {
		web.Path = u.Path
		f.ONVIFURL = web.String()
	}
	asking, cancel := context.WithTimeout(ctx, c.cfg.Within/2) // an RTSP server may wait for more of what it does not understand
	defer cancel()
	err := c.ask(asking, Camera{Username: t.Username, Password: t.Password, ONVIFURL: f.ONVIFURL, Certificate: t.Certificate}, ONVIF, 0, func(s *httpSession) (err error) {
		f.RTSPURL, err = (&onvif{httpSession: s}).streamURI(asking, 1)
		return err
	})
	if err == nil {
		return nil
	}
	switch failure := (&Failure{}); {
	case !errors.As(err, &failure):
		return err
	case failure.Kind == Unsupported, failure.Kind == Refused, failure.Kind == NotReachable, failure.Kind == Timeout && bare: // without ONVIF
	default:
		return failure
	}
	f.ONVIFURL = ""
	stream := url.URL{Scheme: "rtsp", Host: bracketed(u.Hostname()), Path: firstStream}
	if bare {
		stream.Host = u.Host
	}
	f.RTSPURL = stream.String()
	return nil
}

// bracketed returns a host as it is in a URL.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// proveFound proves what was found; a service that the device turns out not to have is
// left out.
func (c *Client) proveFound(ctx context.Context, t Typed, f *Found) error {
	for {
		facts, err := c.Prove(ctx, Target{
			Account: t.Account, Username: f.Username, Password: f.Password, ISAPIURL: f.ISAPIURL, ONVIFURL: f.ONVIFURL,
			Streams: []Stream{{1, f.RTSPURL}}, Certificate: t.Certificate,
		})
		failure := &Failure{}
		switch {
		case err == nil:
			f.Facts = facts
			return nil
		case !errors.As(err, &failure), failure.Kind == TooManyAttempts, failure.Kind == TooManyProofs:
			return err
		case failure.Service == ISAPI:
			f.ISAPIURL = ""
		case failure.Service == ONVIF:
			f.ONVIFURL = ""
		default:
			return err
		}
	}
}

// streamURI asks where a channel's main stream is.
func (o *onvif) streamURI(ctx context.Context, channel int) (string, error) {
	services, err := o.services(ctx, channel)
	if err != nil {
		return "", err
	}
	if services.profile == "" {
		return "", fail(Unsupported, ONVIF)
	}
	answer, err := o.ask(ctx, services.media, mediaNS, "GetStreamUri", "<StreamSetup><Stream"+schemaNS+">RTP-Unicast</Stream><Transport"+schemaNS+`><Protocol>RTSP</Protocol></Transport></StreamSetup>`+
		"<ProfileToken>"+escaped(services.profile)+"</ProfileToken>")
	if err != nil {
		return "", err
	}
	said := answer.find("MediaUri", "Uri")
	if said == nil {
		return "", fail(Unsupported, ONVIF)
	}
	return o.ofDevice(said.text)
}
