package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"latchkey/domain/privilege"
	"latchkey/streaming/rtspclient"
)

// Camera is a device that is asked for what it has, or to do something.
type Camera struct {
	Username, Password string                 // "": none are sent
	ISAPIURL, ONVIFURL string                 // "" for none
	Certificate        rtspclient.Fingerprint // of https, as the owner has confirmed it; zero: it must be valid
}

// ask asks a camera by one service. What it responds can make nothing worse than a
// Failure.
func (c *Client) ask(ctx context.Context, cam Camera, service Service, most int64, question func(*httpSession) error) (err error) {
	address := cam.ISAPIURL
	if service == ONVIF {
		address = cam.ONVIFURL
	}
	p := &proof{client: c, target: Target{Username: cam.Username, Password: cam.Password, Certificate: cam.Certificate}, trusting: true, most: most}
	defer p.settle()
	defer func() {
		if r := recover(); r != nil { // caused by a device's response
			c.cfg.Logger.Error("asking a device panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fail(Unsupported, service)
		}
	}()
	s, err := newHTTPSession(ctx, p, service, address)
	if err != nil {
		return err
	}
	defer s.close()
	err = question(s)
	if err != nil {
		c.cfg.Logger.Debug("a device did not do what it was asked", slog.Any("error", err)) // a Failure has nothing of the device
	}
	return err
}

// isapiPath returns the path of an ISAPI resource.
func (s *httpSession) isapiPath(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(s.base.Path, "/"), "/ISAPI") + "/ISAPI" + path
}

// onvifPath returns the path of the device service.
func (s *httpSession) onvifPath() string {
	if strings.Trim(s.base.Path, "/") == "" {
		return "/onvif/device_service"
	}
	return s.base.Path
}

// onvifServices are where a device's services are, and the profile of a channel.
type onvifServices struct {
	capabilities *element
	media        string // path
	profile      string // a token of the device, "" if the channel has none
	source       string // token of the channel's camera
	sources      int    // how many cameras there are
}

// services finds out where the services are, and the first profile of a channel. Channels
// are the video sources, in the order of the profiles.
func (o *onvif) services(ctx context.Context, channel int) (s onvifServices, err error) {
	path := o.onvifPath()
	if err := o.clock(ctx, path); err != nil {
		return s, err
	}
	answer, err := o.ask(ctx, path, deviceNS, "GetCapabilities", "<Category>All</Category>")
	if err != nil {
		return s, err
	}
	s.capabilities = answer.find("Capabilities")
	s.media = pathOf(s.capabilities, "Media", path)
	if answer, err = o.ask(ctx, s.media, mediaNS, "GetProfiles", ""); err != nil {
		return s, err
	}
	s.profile, s.source, s.sources = profileIn(answer, channel, func(*element) bool { return true })
	return s, nil
}

// maxToken limits a token that is sent back to the device, in bytes.
const maxToken = 256

// profileIn returns the tokens of the first profile of a channel that fits, and of its
// camera; "" if there is none; and how many cameras there are.
func profileIn(answer *element, channel int, fits func(profile *element) bool) (profile, source string, sources int) {
	number := map[string]int{}
	for _, p := range answer.all("Profiles") {
		of := p.words("VideoSourceConfiguration", "SourceToken")
		if of == "" {
			continue
		}
		if number[of] == 0 {
			number[of] = len(number) + 1
		}
		if len(number) > privilege.MaxChannel {
			break
		}
		if token := p.attrs["token"]; profile == "" && number[of] == channel && token != "" && len(token) <= maxToken && fits(p) {
			profile, source = token, of
		}
	}
	return profile, source, len(number)
}

// hasNone reports whether a failure says that the device does not have what it was asked
// for, as opposed to one about reaching it.
func hasNone(err error) bool {
	var failure *Failure
	return errors.As(err, &failure) && (failure.Kind == Unsupported || failure.Kind == Refused)
}
