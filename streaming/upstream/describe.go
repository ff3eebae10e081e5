package upstream

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
)

const (
	maxMedias  = 8
	maxFormats = 8 // of one media
)

// mediaPair is a media of a camera and what viewers see of it.
type mediaPair struct{ theirs, ours *description.Media }

var errNothingToSee = errors.New("the camera offers neither video nor audio")

// describeAnew builds the description for viewers from a camera's own: the kind and
// formats of its video and audio, and nothing else. Back channels are left out, so they
// cannot be set up. Metadata is left out, too: it carries alarms, which are a separate
// privilege.
func describeAnew(theirs *description.Session) (*description.Session, []mediaPair, error) {
	ours := &description.Session{}
	var pairs []mediaPair
	for _, m := range theirs.Medias {
		if m.IsBackChannel || m.Type != description.MediaTypeVideo && m.Type != description.MediaTypeAudio || len(pairs) == maxMedias {
			continue
		}
		media := &description.Media{Type: m.Type, Formats: distinct(m.Formats)}
		if len(media.Formats) == 0 {
			continue
		}
		ours.Medias = append(ours.Medias, media)
		pairs = append(pairs, mediaPair{m, media})
	}
	if len(pairs) == 0 {
		return nil, nil, errNothingToSee
	}
	text, err := ours.Marshal(false)
	if err != nil {
		return nil, nil, fmt.Errorf("describing a camera's stream: %w", err)
	}
	if len(text) > maxSDP {
		return nil, nil, errors.New("the camera's stream description is too long")
	}
	return ours, pairs, nil
}

// distinct returns the formats with unique payload types: the library would leak
// duplicates.
func distinct(formats []format.Format) []format.Format {
	var list []format.Format
	seen := map[uint8]int{}
	for _, f := range formats {
		if len(list) == maxFormats && !contains(seen, f.PayloadType()) {
			continue
		}
		if g, ok := f.(*format.Generic); ok {
			f = withoutAddresses(g)
		}
		if i, ok := seen[f.PayloadType()]; ok {
			list[i] = f // the client, too, uses the last one
			continue
		}
		seen[f.PayloadType()] = len(list)
		list = append(list, f)
	}
	return list
}

func contains(seen map[uint8]int, pt uint8) bool { _, ok := seen[pt]; return ok }

// withoutAddresses removes parameters of an unknown format if they look like an address.
func withoutAddresses(g *format.Generic) *format.Generic {
	for name, value := range g.FMT {
		if strings.Contains(value, "://") || strings.Contains(value, "@") {
			delete(g.FMT, name)
		}
	}
	return g
}
