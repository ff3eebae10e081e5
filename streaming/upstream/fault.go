package upstream

import (
	"errors"
	"net"
	"strconv"
	"syscall"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"latchkey/streaming/rtspclient"
)

// fault is what may be reported about why a camera cannot be pulled: the errors
// themselves contain addresses.
type fault struct {
	label    string
	ofCamera bool // every stream of the device would fail the same way
	told     bool // the owner can do something about it, although other streams may be fine
}

// faultsOf are the faults that one error tells.
var faultsOf = []struct {
	err error
	fault
}{
	{ErrNoStream, fault{label: "no stream"}},
	{ErrNoCamera, fault{label: "no stream"}},
	{errBusy, fault{label: "busy"}},
	{errDenied, fault{label: "denied address", ofCamera: true}},
	{errSource, fault{label: "bad URL"}},
	{errMute, fault{label: "timeout"}},
	{errSilent, fault{label: "silent", told: true}},
	{rtspclient.ErrNoTracks, fault{label: "no media", told: true}},
	{rtspclient.ErrDescription, fault{label: "unreadable description", told: true}},
	{rtspclient.ErrNotRTSP, fault{label: "not RTSP", ofCamera: true}},
	{rtspclient.ErrNoTLS, fault{label: "no TLS", ofCamera: true}},
	{rtspclient.ErrScheme, fault{label: "unknown authentication", ofCamera: true}},
	{rtspclient.ErrRedirect, fault{label: "redirected elsewhere", told: true}},
	{rtspclient.ErrTransport, fault{label: "no transport", told: true}},
	{rtspclient.ErrTooLarge, fault{label: "too large", told: true}},
	{rtspclient.ErrNoise, fault{label: "noise"}},
	{syscall.ECONNREFUSED, fault{label: "refused", ofCamera: true}},
}

func faultOf(err error) fault {
	var status *rtspclient.StatusError
	var certificate *rtspclient.CertificateError
	var network net.Error
	var spent *spentError
	if errors.As(err, &spent) {
		return fault{label: "budget"}
	}
	for _, known := range faultsOf {
		if errors.Is(err, known.err) {
			return known.fault
		}
	}
	switch {
	case errors.As(err, &certificate):
		return fault{label: "untrusted certificate", ofCamera: true}
	case errors.As(err, &status):
		return fault{label: "status " + statusClass(status.Code), ofCamera: status.Code == base.StatusUnauthorized, told: true}
	case errors.Is(err, rtspclient.ErrEnded):
		return fault{label: "ended by camera"}
	case timedOut(err):
		return fault{label: "timeout", ofCamera: true}
	case errors.As(err, &network):
		return fault{label: "network", ofCamera: true}
	default:
		return fault{label: "protocol"}
	}
}

// statusClass keeps the useful statuses, and groups the others.
func statusClass(code base.StatusCode) string {
	switch code {
	case base.StatusUnauthorized, base.StatusForbidden, base.StatusNotFound, base.StatusNotEnoughBandwidth, base.StatusUnsupportedTransport, base.StatusServiceUnavailable:
		return strconv.Itoa(int(code))
	default:
		return strconv.Itoa(int(code)/100%10) + "xx"
	}
}
