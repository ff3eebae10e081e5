package upstream

import (
	"fmt"
	"maps"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/streaming/rtspclient"
)

// maxMedias is how many tracks of a camera viewers see.
const maxMedias = 8

// mediaPair is a track of a camera and what viewers see of it.
type mediaPair struct {
	theirs *rtspclient.Track
	ours   *description.Media
}

// describeAnew builds the description for viewers from a camera's own: the kind and
// formats of its video and audio, and nothing else. Back channels are left out, so they
// cannot be set up. Metadata is left out, too: it carries alarms, which are a separate
// privilege.
func describeAnew(theirs *rtspclient.Description) ([]mediaPair, error) {
	ours := &description.Session{}
	var pairs []mediaPair
	for _, t := range theirs.Tracks {
		m := t.Media
		if m.IsBackChannel || m.Type != description.MediaTypeVideo && m.Type != description.MediaTypeAudio || len(pairs) == maxMedias {
			continue
		}
		media := &description.Media{Type: m.Type}
		for _, f := range m.Formats {
			media.Formats = append(media.Formats, withoutAddresses(f))
		}
		ours.Medias = append(ours.Medias, media)
		pairs = append(pairs, mediaPair{t, media})
	}
	if len(pairs) == 0 {
		return nil, rtspclient.ErrNoTracks
	}
	text, err := ours.Marshal(false)
	if err != nil {
		return nil, fmt.Errorf("describing a camera's stream: %w", err)
	}
	if len(text) > maxSDP {
		return nil, fmt.Errorf("describing a camera's stream: %w", rtspclient.ErrTooLarge)
	}
	return pairs, nil
}

// withoutAddresses removes parameters of an unknown format if they look like an address,
// or could not be written in one line.
func withoutAddresses(f format.Format) format.Format {
	g, ok := f.(*format.Generic)
	if !ok {
		return f
	}
	own := *g
	own.FMT = maps.Clone(g.FMT)
	maps.DeleteFunc(own.FMT, func(name, value string) bool {
		return strings.Contains(value, "://") || strings.Contains(name+value, "@") || strings.ContainsAny(name+value, "\r\n\x00")
	})
	return &own
}
