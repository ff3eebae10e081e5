package device

import "bytes"

// Markers of JPEG (ITU T.81, B.1.1.3).
const (
	jpegMarker = 0xff
	jpegSOI    = 0xd8 // begins a picture
	jpegEOI    = 0xd9
	jpegSOS    = 0xda // begins the entropy-coded data
	jpegAPP0   = 0xe0
	jpegAPP14  = 0xee
	jpegAPP15  = 0xef
	jpegCOM    = 0xfe
	jpegRST0   = 0xd0
)

// bareJPEG returns a picture without what the device wrote beside it: comments and
// application segments, which may hold addresses, names and places. JFIF's and Adobe's
// stay, since they say what the colors are. Nothing is decoded. false: it is no JPEG. The
// bytes are moved where they are.
func bareJPEG(picture []byte) ([]byte, bool) {
	if len(picture) < 4 || picture[0] != jpegMarker || picture[1] != jpegSOI {
		return nil, false
	}
	out := picture[:2]
	for rest := picture[2:]; ; {
		if len(rest) < 4 || rest[0] != jpegMarker {
			return nil, false
		}
		marker := rest[1]
		switch {
		case marker == jpegMarker: // fill
			rest = rest[1:]
			continue
		case marker < 0xc0 || marker >= jpegRST0 && marker <= jpegEOI: // none of these comes before the data
			return nil, false
		}
		length := 2 + int(rest[2])<<8 + int(rest[3])
		if length < 4 || length > len(rest) {
			return nil, false
		}
		if !jpegText(marker, rest[4:length]) {
			out = append(out, rest[:length]...)
		}
		rest = rest[length:]
		if marker == jpegSOS {
			return append(out, rest...), len(rest) > 0
		}
	}
}

// jpegText reports whether a segment is not needed to show the picture.
func jpegText(marker byte, content []byte) bool {
	switch {
	case marker == jpegAPP0:
		return !bytes.HasPrefix(content, []byte("JFIF\x00"))
	case marker == jpegAPP14:
		return !bytes.HasPrefix(content, []byte("Adobe"))
	}
	return marker == jpegCOM || marker > jpegAPP0 && marker <= jpegAPP15
}
