package rtspclient

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// The errors of a conversation. None contains anything of the camera.
var (
	// ErrAddress is returned for an address that is not an RTSP URL.
	ErrAddress = errors.New("not an RTSP address")
	// ErrNotRTSP is returned if the server speaks something else.
	ErrNotRTSP = errors.New("the server does not speak RTSP")
	// ErrNoise is returned if too much of what the camera sends is neither a message nor
	// a packet.
	ErrNoise = errors.New("the camera sends what cannot be read")
	// ErrTooLarge is returned for a message that exceeds the limits.
	ErrTooLarge = errors.New("the camera's response is too large")
	// ErrDescription is returned for a description that cannot be read.
	ErrDescription = errors.New("the camera's description cannot be read")
	// ErrNoTracks is returned for a description without a track that can be used.
	ErrNoTracks = errors.New("the camera offers neither video nor audio")
	// ErrNoCredentials is returned if the camera requests credentials and there are none
	// for it.
	ErrNoCredentials = errors.New("the camera requests a password, and none is known")
	// ErrWrongPassword is returned if the camera refuses the credentials.
	ErrWrongPassword = errors.New("the camera refuses the password")
	// ErrScheme is returned if the camera requests credentials in a way that is not known.
	ErrScheme = errors.New("the camera requests an unknown kind of authentication")
	// ErrRedirect is returned for a redirect that is not followed.
	ErrRedirect = errors.New("the camera redirects to where it is not followed")
	// ErrTransport is returned if the camera accepts neither TCP nor UDP.
	ErrTransport = errors.New("the camera refuses every transport")
	// ErrNoTLS is returned if TLS could not be started.
	ErrNoTLS = errors.New("the server does not speak TLS as required")
	// ErrMute is returned if the camera is connected and does not respond in time.
	ErrMute = errors.New("the camera does not respond")
	// ErrClosed is returned by a client that was closed from here.
	ErrClosed = errors.New("the client is closed")
	// ErrEnded is returned if the camera has ended the connection.
	ErrEnded = errors.New("the camera has ended the connection")
)

// StatusError is a refusal of a camera.
type StatusError struct{ Code base.StatusCode }

func (e *StatusError) Error() string {
	return "the camera responds with status " + strconv.Itoa(int(e.Code))
}

// CertificateError is returned if a camera's certificate is not trusted. Its owner may
// confirm the fingerprint; see Options.Certificate.
type CertificateError struct {
	Fingerprint Fingerprint
	Pinned      bool // another certificate was confirmed
}

func (e *CertificateError) Error() string {
	if e.Pinned {
		return "the camera has another certificate than the confirmed one"
	}
	return "the camera's certificate is not trusted"
}

// Fingerprint is the SHA-256 of a certificate. The zero value is none.
type Fingerprint [sha256.Size]byte

// ParseFingerprint reads a fingerprint in hexadecimal; "" is none.
func ParseFingerprint(text string) (f Fingerprint, err error) {
	if text == "" {
		return f, nil
	}
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != len(f) {
		return f, errors.New("not the SHA-256 of a certificate")
	}
	return Fingerprint(sum), nil
}

// String returns it in hexadecimal.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }
