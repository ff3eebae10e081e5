package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Quality is one of the streams that a channel has.
type Quality uint8

// The qualities.
const (
	Main Quality = iota
	Sub
)

// String is the quality's name, for logs and labels.
func (q Quality) String() string {
	if q == Sub {
		return "sub"
	}
	return "main"
}

// Stream names what is pulled once, however many read it.
type Stream struct {
	Device  string
	Channel int
	Quality Quality
}

// name is unique: a device's id holds no slash.
func (s Stream) name() string {
	return fmt.Sprintf("%s/%d/%s", s.Device, s.Channel, s.Quality)
}

// Source is where a camera's stream is pulled from. None of it may be logged
// or reach a viewer.
type Source struct {
	URL      string // rtsp:// or rtsps://
	Username string // "": those in the URL, if any
	Password string
}

// Cameras knows where streams are. It fails with ErrNoCamera or ErrNoStream
// where there is nothing to pull.
type Cameras interface {
	Camera(ctx context.Context, device string, channel int, q Quality) (Source, error)
}

// Errors of Cameras.
var (
	// ErrNoCamera says that nothing is known of how to reach the device.
	ErrNoCamera = errors.New("the device has no known camera")
	// ErrNoStream says that the channel or quality has no stream. A viewer who
	// asks for the sub stream then gets the main one.
	ErrNoStream = errors.New("the camera has no such stream")
)

// Privileges is what the pool asks of those who know what is permitted. All of it
// must be quick.
type Privileges interface {
	// Live reports whether it is known at this time what is permitted; while it is
	// not, no packet is handed out. It is asked for each packet: it must take no
	// lock. A process that was stopped for a while finds out here that it knows
	// nothing any more.
	Live(now time.Time) bool
	// Gone reports whether the device is known to be in no account: nobody may ever
	// watch it again. It is asked for each camera in use at each Recheck and once a
	// second.
	Gone(device string, now time.Time) bool
	// Owner stands for the account that owns the device, whose dials are counted
	// together; it need not be the account's id.
	Owner(device string) string
}
