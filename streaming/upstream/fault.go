package upstream

import (
	"errors"
	"net"
	"strconv"
	"syscall"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// fault is what may be reported about why a camera cannot be pulled: the errors
// themselves contain addresses.
type fault struct {
	label    string
	ofCamera bool // every stream of the device would fail the same way
}

func faultOf(err error) fault {
	var status liberrors.ErrClientBadStatusCode
	var network net.Error
	var spent *spentError
	switch {
	case errors.As(err, &spent):
		return fault{label: "budget"}
	case errors.Is(err, ErrNoStream), errors.Is(err, ErrNoCamera):
		return fault{label: "no stream"}
	case errors.Is(err, errBusy):
		return fault{label: "busy"}
	case errors.Is(err, errDenied):
		return fault{label: "denied address", ofCamera: true}
	case errors.Is(err, errSource):
		return fault{label: "bad URL"}
	case errors.Is(err, errMute):
		return fault{label: "timeout"}
	case errors.Is(err, errSilent):
		return fault{label: "silent"}
	case errors.Is(err, errNothingToSee):
		return fault{label: "no media"}
	case errors.As(err, &status):
		return fault{label: "status " + statusClass(status.Code), ofCamera: status.Code == base.StatusUnauthorized}
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault{label: "refused", ofCamera: true}
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
	case base.StatusUnauthorized, base.StatusForbidden, base.StatusNotFound, base.StatusUnsupportedTransport, base.StatusServiceUnavailable:
		return strconv.Itoa(int(code))
	default:
		return strconv.Itoa(int(code)/100%10) + "xx"
	}
}
