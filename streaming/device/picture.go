package device

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const (
	// MaxPicture limits a still picture, in bytes.
	MaxPicture = 4 << 20
	// maxPictureAnswers limits what is read from a connection that brings one.
	maxPictureAnswers = MaxPicture + 256<<10
	// maxSnapshotURI limits the address at which a device says that a picture is.
	maxSnapshotURI = 1024
)

// Picture gets a still picture of a channel from a device, as JPEG: by ISAPI if the
// device has it, else, or if it has none there, by ONVIF. The error is a *Failure.
// Nothing is decoded, and nothing is retried.
//
// at, if not nil, is where ONVIF said that the picture is, and is returned for the next
// one.
func (c *Client) Picture(ctx context.Context, cam Camera, channel int, at *url.URL) (picture []byte, _ *url.URL, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Within)
	defer cancel()
	err = fail(Unsupported, "")
	if cam.ISAPIURL != "" {
		err = c.ask(ctx, cam, ISAPI, maxPictureAnswers, func(s *httpSession) (err error) {
			picture, err = s.isapiPicture(ctx, channel)
			return err
		})
		if err == nil {
			return picture, nil, nil
		}
	}
	if cam.ONVIFURL == "" || !hasNone(err) {
		return nil, nil, err
	}
	if at == nil {
		err = c.ask(ctx, cam, ONVIF, 0, func(s *httpSession) (err error) {
			at, err = (&onvif{httpSession: s}).snapshotURI(ctx, channel)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
	}
	there := cam
	there.ONVIFURL = at.String()
	err = c.ask(ctx, there, ONVIF, maxPictureAnswers, func(s *httpSession) (err error) {
		s.query = at.RawQuery
		picture, err = s.picture(ctx, s.base.Path)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return picture, at, nil
}

// isapiPicture asks for the main stream's picture, where cameras have it and then where
// recorders may have it.
func (s *httpSession) isapiPicture(ctx context.Context, channel int) ([]byte, error) {
	var err error
	for _, path := range []string{"/Streaming/channels/%d01/picture", "/ContentMgmt/StreamingProxy/channels/%d01/picture"} {
		var picture []byte
		if picture, err = s.picture(ctx, s.isapiPath(fmt.Sprintf(path, channel))); err == nil {
			return picture, nil
		}
		if !hasNone(err) {
			break
		}
	}
	return nil, err
}

// picture gets what is at a path if it is a JPEG.
func (s *httpSession) picture(ctx context.Context, path string) ([]byte, error) {
	a, err := s.call(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK || !mayBePicture(a.kind) || len(a.body) > MaxPicture {
		return nil, fail(Unsupported, s.service)
	}
	picture, ok := bareJPEG(a.body)
	if !ok {
		return nil, fail(Unsupported, s.service)
	}
	return picture, nil
}

// mayBePicture reports whether a content type leaves it to the content: devices send
// pictures as any image, as bytes, as text, or as nothing.
func mayBePicture(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); kind {
	case "", "application/octet-stream", "binary/octet-stream", "text/plain":
		return true
	}
	return strings.HasPrefix(kind, "image/")
}

// snapshotURI asks where a channel's picture is.
func (o *onvif) snapshotURI(ctx context.Context, channel int) (*url.URL, error) {
	services, err := o.services(ctx, channel)
	if err != nil {
		return nil, err
	}
	if services.profile == "" {
		return nil, fail(Unsupported, ONVIF)
	}
	answer, err := o.ask(ctx, services.media, mediaNS, "GetSnapshotUri", "<ProfileToken>"+escaped(services.profile)+"</ProfileToken>")
	if err != nil {
		return nil, err
	}
	said := answer.find("MediaUri", "Uri")
	if said == nil {
		return nil, fail(Unsupported, ONVIF)
	}
	at := onOwnHost(o.base, said.text)
	if at == nil {
		return nil, fail(Unsupported, ONVIF)
	}
	return at, nil
}

// onOwnHost returns an address that a device reports, at the device itself: our credentials
// go nowhere else, and what is elsewhere is not the device's picture. A port is believed
// only with the host that we know, since devices do not know what is before them; and a
// device that we reach over TLS gets no credentials without it. nil if it is not an address.
func onOwnHost(device *url.URL, said string) *url.URL {
	if len(said) > maxSnapshotURI {
		return nil
	}
	u, err := url.Parse(strings.TrimSpace(said))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return nil
	}
	if !strings.EqualFold(u.Hostname(), device.Hostname()) || u.Scheme == "http" && device.Scheme == "https" {
		u.Scheme, u.Host = device.Scheme, device.Host
	}
	u.User, u.Fragment = nil, ""
	return u
}
