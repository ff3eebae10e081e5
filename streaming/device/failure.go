package device

import (
	"time"

	"latchkey/streaming/rtspclient"
)

// Kind is the reason why a device was not proven, or did not do what was asked.
type Kind string

// The kinds of Failure.
const (
	WrongPassword    Kind = "wrong_password"    // it refuses our credentials, or requires some
	NoSuchPath       Kind = "no_such_path"      // it has no such stream
	NotReachable     Kind = "not_reachable"     // a name does not resolve, or a port is closed
	NotRTSP          Kind = "not_rtsp"          // the server does not speak RTSP
	Timeout          Kind = "timeout"           // it is there, but does not respond in time
	AddressForbidden Kind = "address_forbidden" // the policy does not allow the address
	Unsupported      Kind = "unsupported"       // it responds, but not with what is needed
	// DescriptionUnreadable: what it says of its stream cannot be read.
	DescriptionUnreadable Kind = "description_unreadable"
	// CertificateNotTrusted: nobody has confirmed its certificate.
	CertificateNotTrusted Kind = "certificate_not_trusted"
	TooManyAttempts       Kind = "too_many_attempts" // wrong passwords were sent to this address: one more could lock it
	TooManyProofs         Kind = "too_many_proofs"   // the account has had too many devices proven
	Refused               Kind = "refused"           // it understands the request, and refuses it
	NoSuchPreset          Kind = "no_such_preset"    // it has no such preset, or none that may be used
	Busy                  Kind = "busy"              // somebody else uses what it has once
	Incomplete            Kind = "incomplete"        // it has more recordings than it gives, or than are read
	Silent                Kind = "silent"            // it says that it plays, and sends nothing
	Ended                 Kind = "ended"             // the connection ended, by it or on the way
	UnsupportedCodec      Kind = "unsupported_codec" // it takes only a codec that is not passed through
)

// Service is a service of a device.
type Service string

// The services.
const (
	RTSP  Service = "rtsp"
	ISAPI Service = "isapi"
	ONVIF Service = "onvif"
)

// Failure is why a device was not proven. It contains no addresses, no credentials and no
// text of the device.
type Failure struct {
	Kind    Kind
	Service Service // "" if none was involved
	Channel int     // of the stream, 0 for other services
	// RetryAfter is how long to wait, for TooManyAttempts and TooManyProofs.
	RetryAfter time.Duration
	// Codec is the name of the codec, for UnsupportedCodec; "" if it is none that we know.
	Codec string
	// Certificate is what the owner may confirm, for CertificateNotTrusted.
	Certificate rtspclient.Fingerprint
}

// Error names the kind and the service.
func (f *Failure) Error() string {
	return "connecting to a device by " + string(f.Service) + ": " + string(f.Kind)
}

func fail(kind Kind, service Service) *Failure { return &Failure{Kind: kind, Service: service} }
