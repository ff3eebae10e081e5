package fanout

import (
	"net"
	"time"
)

// camera serves a camera at every path: H.264 in shape, 25 pictures a second and about 2
// Mbit/s. A camera that nobody watched before begins with a key picture at once, as many
// do; it is neither decodable nor in step with the others.
func camera(l net.Listener) error {
	s := newServer(func(_ string, to *stream) {
		p := newPacker()
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		for to.send(p.next(time.Now())) {
			<-tick.C
		}
	})
	return s.serve(l)
}
