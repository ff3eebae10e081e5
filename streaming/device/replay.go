package device

import (
	"context"
	"net"
	"net/url"
	"strings"
	"time"
)

const (
	replayNS = "http://www.onvif.org/ver10/replay/wsdl"
	// replayWithin limits the questions of Replay, maxReplayURI the address that it returns.
	replayWithin = 10 * time.Second
	maxReplayURI = 2048
)

// Replay asks a device by ONVIF where it replays the recordings of a channel, and how far
// its clock is ahead. The address is of the device's host, whatever it says. The error is a
// *Failure.
func (c *Client) Replay(ctx context.Context, cam Camera, channel int) (address string, ahead time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, replayWithin)
	defer cancel()
	if cam.ONVIFURL == "" {
		return "", 0, fail(Unsupported, ONVIF)
	}
	err = c.ask(ctx, cam, ONVIF, 0, func(s *httpSession) (err error) {
		o := &onvif{httpSession: s}
		address, err = o.replay(ctx, channel)
		ahead = o.ahead
		return err
	})
	return address, ahead, err
}

// replay returns the address of the newest recording of a channel.
func (o *onvif) replay(ctx context.Context, channel int) (string, error) {
	services, err := o.services(ctx, channel)
	if err != nil {
		return "", err
	}
	path := pathOf(services.capabilities.find("Extension"), "Replay", "")
	if path == "" {
		return "", fail(Refused, ONVIF)
	}
	found, err := o.find(ctx, services)
	if err != nil {
		return "", err
	}
	token, newest := "", time.Time{}
	for _, info := range found {
		name := strings.TrimSpace(info.words("RecordingToken"))
		for _, r := range onvifRecording(info, 0) {
			if name != "" && len(name) <= maxToken && r.To.After(newest) {
				token, newest = name, r.To
			}
		}
	}
	if token == "" {
		return "", fail(Refused, ONVIF)
	}
	answer, err := o.ask(ctx, path, replayNS, "GetReplayUri", "<StreamSetup><Stream"+schemaNS+">RTP-Unicast</Stream><Transport"+schemaNS+`><Protocol>RTSP</Protocol></Transport></StreamSetup>`+
		"<RecordingToken>"+escaped(token)+"</RecordingToken>")
	if err != nil {
		return "", err
	}
	return o.ofDevice(answer.words("Uri"))
}

// ofDevice returns an RTSP address with the host at which the device is asked: what it says
// may only be right behind its router.
func (o *onvif) ofDevice(address string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme != "rtsp" && u.Scheme != "rtsps" || u.Host == "" || len(address) > maxReplayURI {
		return "", fail(Unsupported, ONVIF)
	}
	host := o.base.Hostname()
	switch port := u.Port(); {
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}
	u.User, u.Fragment = nil, ""
	return u.String(), nil
}
