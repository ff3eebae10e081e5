package webrtc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// renewBefore is how long before its end a certificate is replaced: it lasts a month, and
// no viewer would be admitted after that.
const renewBefore = 7 * 24 * time.Hour

// identity is the certificate for DTLS. Its fingerprint is in each answer, so nothing else
// has to know it.
type identity struct {
	mu      sync.Mutex
	current *webrtc.Certificate
}

// at returns a certificate that is good for some days after this time.
func (i *identity) at(now time.Time) (webrtc.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current != nil && now.Before(i.current.Expires().Add(-renewBefore)) {
		return *i.current, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return webrtc.Certificate{}, fmt.Errorf("making the key of WebRTC: %w", err)
	}
	if i.current, err = webrtc.GenerateCertificate(key); err != nil {
		return webrtc.Certificate{}, fmt.Errorf("making the certificate of WebRTC: %w", err)
	}
	return *i.current, nil
}
