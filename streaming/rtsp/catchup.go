package rtsp

import (
	"sync"

	"latchkey/streaming/upstream"
)

// catchUp has what a new viewer gets before the live packets: of video what was played
// since the last key frame, squeezed, and of sound the last packet.
type catchUp struct {
	parts []part
}

type part struct {
	track   int
	video   bool
	channel byte
	ssrc    uint32
	packets []upstream.Packet
	squeeze upstream.Squeeze
}

// catchBurst is how much of it is prepared at once.
const catchBurst = 32 << 10

// bursts are those of catchUps. They are reused: many viewers may come at once.
var bursts = sync.Pool{New: func() any {
	return &burst{data: make([]byte, 0, catchBurst+2048), ends: make([]int32, 0, 64)}
}}

// next returns the next burst, or nil after the last one. Use release when it was sent.
func (c *catchUp) next() *burst {
	for len(c.parts) > 0 && len(c.parts[0].packets) == 0 {
		c.parts = c.parts[1:]
	}
	if len(c.parts) == 0 {
		return nil
	}
	p := &c.parts[0]
	b := bursts.Get().(*burst)
	b.track, b.video, b.channel = p.track, p.video, p.channel
	b.reset()
	b.pooled = true
	for len(p.packets) > 0 && len(b.data) < catchBurst {
		data := p.packets[0].Data
		b.add(data, p.ssrc, p.squeeze.Map(upstream.Timestamp(data)))
		p.packets = p.packets[1:]
	}
	return b
}

// shorten leaves out what follows the picture that is being sent.
func (c *catchUp) shorten() {
	if c == nil || len(c.parts) == 0 {
		return
	}
	p := &c.parts[0]
	for n := range p.packets {
		if upstream.Timestamp(p.packets[n].Data) != upstream.Timestamp(p.packets[0].Data) {
			p.packets = p.packets[:n]
			break
		}
	}
	c.parts = c.parts[:1]
}

// release gives back a burst that was sent, if it came from next.
func release(b *burst) {
	if b.pooled {
		bursts.Put(b)
	}
}
