package fanout

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window is what some viewers received during a measurement.
type Window struct {
	CPU   time.Duration // of the process that served them
	Gbit  float64       // of RTP that was delivered
	Whole int           // pictures
	Lost  int           // pictures that are missing or damaged, or due to viewers that were dropped
	late  []time.Duration
}

// PerGbit returns the CPU seconds for each Gbit delivered.
func (w Window) PerGbit() float64 { return w.CPU.Seconds() / w.Gbit }

// Late returns how much later than with one viewer straight at the camera the p-th of the
// pictures is whole, 0 < p <= 1.
func (w Window) Late(p float64) time.Duration {
	if len(w.late) == 0 {
		return 0
	}
	return w.late[min(len(w.late)-1, int(float64(len(w.late))*p))]
}

// Measure lets viewers watch for a while. One more, straight at the camera, says how late
// its pictures are in any case, and how many there are.
func (c *Crowd) Measure(ctx context.Context, pid int, viewers []*Viewer, straight *Viewer, d time.Duration) (Window, error) {
	c.mu.Lock()
	for _, v := range append(viewers[:len(viewers):len(viewers)], straight) {
		v.reset()
	}
	before := CPU(pid)
	c.mu.Unlock()
	select {
	case <-ctx.Done():
		return Window{}, ctx.Err()
	case <-time.After(d):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := Window{CPU: CPU(pid) - before}
	if len(straight.late) == 0 {
		return w, errors.New("the camera has sent no picture")
	}
	slices.Sort(straight.late)
	base := straight.late[len(straight.late)/2]
	due := due(viewers, straight)
	for _, v := range viewers {
		w.Gbit += float64(v.bytes) * 8 / 1e9
		w.Whole += v.whole
		const underWay = 3 // at both ends of the window
		w.Lost += max(v.lost, due[v.session.target.Path]-underWay-v.whole)
		for _, l := range v.late {
			w.late = append(w.late, l-base)
		}
	}
	if w.Whole == 0 {
		return w, errors.New("no picture was delivered")
	}
	slices.Sort(w.late)
	return w, nil
}

// due returns how many pictures there were at each path, so that a viewer who got none
// misses them: as many as the viewer of it who got most, and with a single path as many as
// the one straight at the camera. Other cameras keep their own time on a busy machine.
func due(viewers []*Viewer, straight *Viewer) map[string]int {
	most := map[string]int{}
	for _, v := range viewers {
		path := v.session.target.Path
		most[path] = max(most[path], v.whole+v.lost)
	}
	if len(most) == 1 {
		for path := range most {
			most[path] = straight.whole
		}
	}
	return most
}

// Seen is what a viewer has received so far.
type Seen struct {
	Ended bool      // by the other side
	Bytes int64     // of RTP
	Last  time.Time // of the last packet
	First time.Time // of the first whole key picture
}

// See returns what viewers have received so far, all at the same moment.
func (c *Crowd) See(viewers []*Viewer) []Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := make([]Seen, len(viewers))
	for i, v := range viewers {
		seen[i] = Seen{v.ended, v.bytes, v.last, v.first}
	}
	return seen
}

// CPU returns the user and system time of the threads of a process, from the scheduler,
// as that of the process itself is counted in ticks of 10 ms.
func CPU(pid int) (sum time.Duration) {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	for _, file := range threads {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		ran, _, _ := strings.Cut(string(raw), " ")
		ns, _ := strconv.ParseInt(ran, 10, 64)
		sum += time.Duration(ns)
	}
	return sum
}

// Memory returns the resident memory of a process in KiB.
func Memory(pid int) int {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), "\nVmRSS:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.Atoi(kib)
	return n
}

// Connections returns how many connections to an address of 127.0.0.1 are open on its
// side, whether or not the other side reads.
func Connections(address string) int {
	_, port, _ := strings.Cut(address, ":")
	n, _ := strconv.ParseUint(port, 10, 16)
	local := "0100007F:" + strings.ToUpper(hex4(n)) // others may have the port at another address
	raw, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0
	}
	open := 0
	for line := range strings.Lines(string(raw)) {
		const established = "01"
		if f := strings.Fields(line); len(f) > 3 && f[1] == local && f[3] == established {
			open++
		}
	}
	return open
}

func hex4(n uint64) string {
	text := strconv.FormatUint(n, 16)
	return strings.Repeat("0", max(0, 4-len(text))) + text
}

// ReceiveErrors returns how many datagrams the sockets of this machine had no room for.
func ReceiveErrors() int {
	raw, _ := os.ReadFile("/proc/net/snmp")
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 5 && f[0] == "Udp:" {
			if n, err := strconv.Atoi(f[5]); err == nil {
				return n
			}
		}
	}
	return 0
}
