package webrtc

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/pion/sdp/v3"
)

// digestLength is how many bytes a hash function makes, of those that the certificate of a
// player may be named with. MD5 and MD2 must not be used (RFC 8122, section 5).
var digestLength = map[string]int{"sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}

// fingerprintForm is the value of a fingerprint: a hash function, and what it makes in hex.
// Some players write it in small letters.
var fingerprintForm = regexp.MustCompile(`^([0-9A-Za-z.+_-]+) ([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*)$`)

// knownFingerprints returns the attributes without the fingerprints whose hash function is
// not known, as pion takes the first, and how many fingerprints are left. One that is not
// well-formed is refused: nobody can ever connect with it.
func knownFingerprints(list []sdp.Attribute) (kept []sdp.Attribute, known int, err error) {
	for _, a := range list {
		if a.Key != "fingerprint" {
			kept = append(kept, a)
			continue
		}
		form := fingerprintForm.FindStringSubmatch(a.Value)
		if form == nil {
			return nil, 0, &OfferError{"its fingerprint must be a hash function and pairs of hexadecimal digits (RFC 8122)"}
		}
		function := strings.ToLower(form[1])
		want, ok := digestLength[function]
		if !ok {
			continue
		}
		if got := (len(form[2]) + 1) / 3; got != want {
			return nil, 0, &OfferError{fmt.Sprintf("its fingerprint by %s must have %d bytes, not %d (RFC 8122)", function, want, got)}
		}
		kept = append(kept, a)
		known++
	}
	return kept, known, nil
}

// readFingerprints checks the fingerprints of an offer, which has at least one.
func readFingerprints(desc *sdp.SessionDescription) error {
	var all int
	var err error
	if desc.Attributes, all, err = knownFingerprints(desc.Attributes); err != nil {
		return err
	}
	for _, m := range desc.MediaDescriptions {
		var known int
		if m.Attributes, known, err = knownFingerprints(m.Attributes); err != nil {
			return err
		}
		all += known
	}
	if all == 0 {
		return &OfferError{"it must have the fingerprint of a certificate, by SHA-1 or SHA-2 (RFC 8122)"}
	}
	return nil
}
