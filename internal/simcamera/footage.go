package simcamera

import (
	"fmt"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"latchkey/internal/simcamera/picture"

	ours "latchkey/internal/simcamera/h264"
)

// quality is the last digit of a stream's number.
type quality int

const (
	mainStream quality = 1
	subStream  quality = 2
)

// keyEvery is the time between key pictures of drawn footage.
const keyEvery = 2 * time.Second

// unit is one coded picture as it is sent.
type unit struct {
	at     time.Time     // the instant that it shows, on the device's clock
	pts    time.Duration // since its stream began
	length time.Duration
	key    bool
	nalus  [][]byte
}

// footage produces encoded pictures sequentially. It is used by one goroutine at a time.
type footage interface {
	parameters() (sps, pps []byte)
	step() time.Duration
	// next encodes the next picture, as of an instant: a key picture if requested and the
	// footage can choose.
	next(at time.Time, key bool) (nalus [][]byte, isKey bool, err error)
}

// drawnFootage draws what it shows.
type drawnFootage struct {
	scene    *picture.Scene
	encoder  *ours.Encoder
	interval time.Duration
	sinceKey time.Duration
	view     func() picture.View
	text     func() picture.Text
}

// newFootage returns the file that the camera shows, from its beginning, or drawings with
// a view and a text.
func (c *Camera) newFootage(q quality, view func() picture.View, text func() picture.Text) (footage, error) {
	if c.file != nil {
		return newFileFootage(c.file), nil
	}
	width, height, rate, divisor := 640, 360, 25, 1
	if q == subStream {
		width, height, divisor = 320, 180, 2
	}
	encoder, err := ours.NewEncoder(ours.Format{Width: width, Height: height, RateNum: rate, RateDen: divisor, QP: 22})
	if err != nil {
		return nil, err
	}
	return &drawnFootage{
		scene:    picture.NewScene(width, height),
		encoder:  encoder,
		interval: time.Second * time.Duration(divisor) / time.Duration(rate),
		view:     view,
		text:     text,
	}, nil
}

func cameraName(channel int) string { return fmt.Sprintf("Camera %02d", channel) }

func (d *drawnFootage) parameters() (sps, pps []byte) { return d.encoder.SPS(), d.encoder.PPS() }

func (d *drawnFootage) step() time.Duration { return d.interval }

func (d *drawnFootage) next(at time.Time, key bool) ([][]byte, bool, error) {
	d.sinceKey += d.interval
	key = key || d.sinceKey >= keyEvery
	if key {
		d.sinceKey = 0
	}
	nalu, err := d.encoder.Encode(d.scene.Draw(at, d.view(), d.text()), key)
	if err != nil {
		return nil, false, err
	}
	if key {
		return [][]byte{d.encoder.SPS(), d.encoder.PPS(), nalu}, true, nil
	}
	return [][]byte{nalu}, false, nil
}

// fileFootage repeats a recording forever.
type fileFootage struct {
	recording *ours.Recording
	interval  time.Duration
	position  int
}

func newFileFootage(r *ours.Recording) *fileFootage {
	f := &fileFootage{recording: r, interval: time.Second / 25}
	var sps h264.SPS
	if err := sps.Unmarshal(r.SPS); err != nil {
		return f
	}
	if fps := sps.FPS(); fps >= 1 && fps <= 240 {
		f.interval = time.Duration(float64(time.Second) / fps)
	}
	return f
}

func (f *fileFootage) parameters() (sps, pps []byte) { return f.recording.SPS, f.recording.PPS }

func (f *fileFootage) step() time.Duration { return f.interval }

func (f *fileFootage) next(time.Time, bool) ([][]byte, bool, error) {
	p := f.recording.Pictures[f.position]
	f.position = (f.position + 1) % len(f.recording.Pictures)
	if !p.Key {
		return p.NALUs, false, nil
	}
	nalus := [][]byte{f.recording.SPS, f.recording.PPS}
	return append(nalus, p.NALUs...), true, nil
}
