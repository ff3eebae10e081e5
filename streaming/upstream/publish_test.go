package upstream

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/domain/ids"
	"latchkey/streaming/cameratest"
)

// notes are what a pool reports of devices, in order.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(note string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, note)
}

func (n *notes) all() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprint(n.list)
}

func (n *notes) into(c *Config) {
	c.Reached = func(_ ids.Device, reason string) { n.add("reached:" + reason) }
	c.Dropped = func(_ ids.Device, reason string) { n.add("dropped:" + reason) }
	c.Unpublished = func(_ ids.Device, silent bool) { n.add(fmt.Sprint("unpublished:", silent)) }
}

func (h *house) publish(t testing.TB, q Quality) *Publication {
	t.Helper()
	theirs := &description.Session{Medias: []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96}}}}}
	pub, err := h.Publish(t.Context(), Stream{"dev-1", 1, q}, theirs)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

// TestTheEndOfAPublication is reported: that it broke off if the publisher was lost, and that
// the device is gone unless another publication follows.
func TestTheEndOfAPublication(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*Publication)
		want string
	}{
		"the publisher ends it": {(*Publication).End, "[reached: unpublished:false]"},
		"it is cut":             {func(p *Publication) { p.Cut(); p.Lose() }, "[reached: unpublished:false]"},
		"the publisher is lost": {(*Publication).Lose, "[reached: dropped:ended by camera unpublished:false]"},
		"it is silent":          {func(p *Publication) { <-p.Done() }, "[reached: dropped:silent unpublished:true]"},
		"it is replaced":        {func(p *Publication) { p.Replace(); p.Lose() }, "[reached:]"},
		"nothing replaces it":   {func(p *Publication) { p.Replace(); <-p.Done(); p.Missed() }, "[reached: unpublished:false]"},
	} {
		t.Run(name, func(t *testing.T) {
			var n notes
			h := open(t, nil, n.into, func(c *Config) {
				if c.SilenceLimit = time.Hour; name == "it is silent" {
					c.SilenceLimit = 20 * time.Millisecond
				}
			})
			c.end(h.publish(t, Main))
			if got := n.all(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestADeviceWithAnotherStreamIsThere, whether it publishes that, or it is pulled, until the last
// publication has ended. The end of the pool says nothing of devices.
func TestADeviceWithAnotherStreamIsThere(t *testing.T) {
	var n notes
	h := open(t, (&cameratest.Camera{}).Start(t), n.into)
	main, sub := h.publish(t, Main), h.publish(t, Sub)
	main.End()
	_, lease := h.reading(t, "dev-1", 1)
	sub.End()
	lease.Release()
	eventually(t, "each stream is reported", func() bool { return n.all() == "[reached: reached: reached:]" })
	eventually(t, "the pull has ended", func() bool { return !h.Pulled("dev-1") })
	h.publish(t, Sub).End()
	h.publish(t, Sub)
	h.shut()
	if got, want := n.all(), "[reached: reached: reached: reached: unpublished:false reached:]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
