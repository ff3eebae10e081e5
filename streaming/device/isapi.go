package device

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"latchkey/domain/privilege"
)

// maxAsked is how many channels are requested individually.
const maxAsked = 64

// isapi reads the facts from ISAPI (Hikvision).
type isapi struct{ *httpSession }

func (p *proof) isapi(ctx context.Context, facts *Facts) error {
	s, err := newHTTPSession(ctx, p, ISAPI, p.target.ISAPIURL)
	if err != nil {
		return err
	}
	defer s.close()
	i := isapi{s}
	if err := i.info(ctx, facts); err != nil {
		return err
	}
	// The rest is optional. If access is denied, nothing more is requested.
	for _, ask := range []func(context.Context, *Facts) error{i.inputs, i.linked, i.talk, i.tracks, i.ptz} {
		var failure *Failure
		if err := ask(ctx, facts); errors.As(err, &failure) && failure.Kind != Unsupported {
			break
		}
	}
	for n := range facts.Channels {
		facts.Channels[n].learn(privilege.Alarm, true) // every device has the alert stream
	}
	return nil
}

// get reads a document; nil if the device does not have it.
func (i isapi) get(ctx context.Context, path string) (*element, error) {
	a, err := i.call(ctx, http.MethodGet, i.isapiPath(path), nil, nil)
	switch {
	case err != nil:
		return nil, err
	case a.status == http.StatusOK && a.xml != nil && a.xml.name != "ResponseStatus":
		return a.xml, nil
	case a.status == http.StatusOK, a.status == http.StatusUnauthorized, a.status >= 300 && a.status < 400, a.status >= 500:
		return nil, fail(Unsupported, ISAPI)
	}
	return nil, nil
}

func (i isapi) info(ctx context.Context, facts *Facts) error {
	doc, err := i.get(ctx, "/System/deviceInfo")
	if err != nil {
		return err
	}
	if doc == nil || doc.name != "DeviceInfo" {
		return fail(Unsupported, ISAPI)
	}
	facts.Serial, facts.Model = doc.words("serialNumber"), doc.words("model")
	facts.Firmware = strings.TrimSpace(doc.words("firmwareVersion") + " " + doc.words("firmwareReleasedDate"))
	return nil
}

// inputs returns the device's own cameras.
func (i isapi) inputs(ctx context.Context, facts *Facts) error {
	doc, err := i.get(ctx, "/System/Video/inputs/channels")
	for _, e := range doc.all("VideoInputChannel") {
		i.named(facts, e, "name")
	}
	return err
}

// linked returns the cameras that are linked to a recorder.
func (i isapi) linked(ctx context.Context, facts *Facts) error {
	doc, err := i.get(ctx, "/ContentMgmt/InputProxy/channels")
	for _, e := range doc.all("InputProxyChannel") {
		facts.Recorder = true
		i.named(facts, e, "name")
	}
	return err
}

func (i isapi) named(facts *Facts, e *element, at string) {
	number, err := strconv.Atoi(e.words("id"))
	if err != nil {
		return
	}
	if c := facts.channel(number); c != nil {
		c.Name, c.Listed = e.words(at), true
	}
}

// talk finds the channels that accept audio.
func (i isapi) talk(ctx context.Context, facts *Facts) error {
	doc, err := i.get(ctx, "/System/TwoWayAudio/channels")
	if err != nil {
		return err
	}
	takes := map[int]bool{}
	for _, e := range doc.all("TwoWayAudioChannel") {
		if number, err := strconv.Atoi(e.words("id")); err == nil {
			takes[number] = true
		}
	}
	for n := range facts.Channels {
		facts.Channels[n].told, facts.Channels[n].takes = true, takes[facts.Channels[n].Number]
	}
	return nil
}

// tracks finds the channels that are recorded. A track's number is the channel's and the
// stream's: 101.
func (i isapi) tracks(ctx context.Context, facts *Facts) error {
	doc, err := i.get(ctx, "/ContentMgmt/record/tracks")
	if err != nil {
		return err
	}
	recorded := map[int]bool{}
	for _, e := range doc.all("Track") {
		if number, err := strconv.Atoi(e.words("id")); err == nil && number > 100 {
			recorded[number/100] = true
		}
	}
	for n := range facts.Channels {
		facts.Channels[n].learn(privilege.Playback, recorded[facts.Channels[n].Number])
	}
	return nil
}

// ptz finds the channels that move. Those of a recorder are linked cameras, which have it
// at another place.
func (i isapi) ptz(ctx context.Context, facts *Facts) error {
	places := isapiPTZ[:1]
	if facts.Recorder {
		places = isapiPTZ
	}
	for n := range facts.Channels[:min(maxAsked, len(facts.Channels))] {
		c := &facts.Channels[n]
		var doc *element
		for _, at := range places {
			var err error
			if doc, err = i.get(ctx, fmt.Sprintf("%s/channels/%d/capabilities", at, c.Number)); err != nil {
				return err
			}
			if doc != nil {
				break
			}
		}
		c.learn(privilege.PTZ, doc != nil)
	}
	return nil
}
