package simcamera

import (
	"net"
	"sync"
)

// lock refuses whoever gave a wrong password too often, whatever they give then, as
// devices do. One that is on stays on. Its zero value never does.
type lock struct {
	after int // wrong passwords; 0 for never

	mu    sync.Mutex
	wrong map[string]int // by IP address
}

// refused counts a wrong password.
func (l *lock) refused(from net.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrong == nil {
		l.wrong = map[string]int{}
	}
	l.wrong[ipOf(from)]++
}

// on reports whether an address is locked out.
func (l *lock) on(from net.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.after > 0 && l.wrong[ipOf(from)] >= l.after
}

func ipOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// WrongPasswords returns how often credentials were given that are not the camera's,
// over RTSP, ISAPI and ONVIF together.
func (c *Camera) WrongPasswords() int {
	c.lock.mu.Lock()
	defer c.lock.mu.Unlock()
	n := 0
	for _, wrong := range c.lock.wrong {
		n += wrong
	}
	return n
}

// Locked reports whether anybody is locked out.
func (c *Camera) Locked() bool {
	c.lock.mu.Lock()
	defer c.lock.mu.Unlock()
	for _, wrong := range c.lock.wrong {
		if c.lock.after > 0 && wrong >= c.lock.after {
			return true
		}
	}
	return false
}
