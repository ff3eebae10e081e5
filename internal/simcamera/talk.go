package simcamera

import (
	"sync"
	"time"
)

// Talk is the audio that a camera has received through its back channels, RTSP and ISAPI
// together.
type Talk struct {
	Packets uint64 // RTP packets, or reads of raw sound
	Bytes   uint64 // of G.711
	Last    time.Time
}

type talkCounter struct {
	mu     sync.Mutex
	heard  Talk
	opened map[int]bool // two-way audio channels that ISAPI has opened
}

func (t *talkCounter) hear(bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard.Packets++
	t.heard.Bytes += uint64(bytes)
	t.heard.Last = time.Now()
}

// open takes a two-way audio channel, or returns false if it is taken.
func (t *talkCounter) open(id int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.opened[id] {
		return false
	}
	if t.opened == nil {
		t.opened = map[int]bool{}
	}
	t.opened[id] = true
	return true
}

func (t *talkCounter) close(id int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.opened, id)
}

func (t *talkCounter) isOpen(id int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.opened[id]
}

// Talk returns what has been received so far.
func (c *Camera) Talk() Talk {
	c.talk.mu.Lock()
	defer c.talk.mu.Unlock()
	return c.talk.heard
}
