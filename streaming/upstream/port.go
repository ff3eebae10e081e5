package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/domain/ids"
)

// Quality is one of the streams that a channel has.
type Quality uint8

// The qualities.
const (
	Main Quality = iota
	Sub
)

// String returns the quality's name, for logs and labels.
func (q Quality) String() string {
	if q == Sub {
		return "sub"
	}
	return "main"
}

// Stream identifies what is pulled once for any number of readers.
type Stream struct {
	Device  ids.Device
	Channel int
	Quality Quality
}

// name returns a unique name: a device's id has no slash.
func (s Stream) name() string {
	return fmt.Sprintf("%s/%d/%s", s.Device, s.Channel, s.Quality)
}

// Source is the address of a camera's stream. None of it may be logged or reach a viewer.
type Source struct {
	URL      string // rtsp:// or rtsps://
	Username string // "": those in the URL, if any
	Password string
	// Certificate is the SHA-256, in hexadecimal, of the certificate that the owner has
	// confirmed for rtsps. "": it must be valid by the system's authorities.
	Certificate string
}

// Cameras returns the sources of streams. It fails with ErrNoCamera or ErrNoStream if
// there is nothing to pull.
type Cameras interface {
	Camera(ctx context.Context, device ids.Device, channel int, q Quality) (Source, error)
}

// The errors of Cameras.
var (
	// ErrNoCamera is returned if the device has no known address.
	ErrNoCamera = errors.New("the device has no known camera")
	// ErrNoStream is returned if the channel or quality has no stream. A viewer who
	// requests the sub stream then gets the main one.
	ErrNoStream = errors.New("the camera has no such stream")
)

// Privileges is the pool's view of what is permitted. All methods must be quick.
type Privileges interface {
	// Live reports whether it is known now what is permitted; while it is not, no packet
	// is passed on. It is called for each packet: it must not lock. A process that was
	// paused finds out here that its knowledge is stale.
	Live(now time.Time) bool
	// Gone reports whether the device is known to be in no account: nobody may ever watch
	// it again. It is called for each camera in use at each Recheck and once a second.
	Gone(device ids.Device, now time.Time) bool
	// Owner returns a name for the account that owns the device, whose dials are counted
	// together; it need not be the account's id.
	Owner(device ids.Device) string
}
