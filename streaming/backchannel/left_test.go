package backchannel

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/domain/ids"
	"latchkey/streaming/device"
	"latchkey/streaming/notes"
)

// intercom is a device with one channel, which stays open until it is closed.
type intercom struct {
	url string

	mu    sync.Mutex
	open  bool
	away  bool     // it hangs up on everybody
	told  []string // open, close
	heard int
}

func (i *intercom) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	i.mu.Lock()
	away, busy := i.away, i.open && what == "open"
	if what == "open" || what == "close" {
		if !away {
			i.open = what == "open"
		}
		i.told = append(i.told, what)
	}
	i.mu.Unlock()
	switch {
	case away, what == "audioData":
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		if away {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		i.listen(buffered)
	case busy:
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<ResponseStatus><statusCode>2</statusCode><subStatusCode>deviceBusy</subStatusCode></ResponseStatus>")
	case what == "channels":
		_, _ = io.WriteString(w, "<TwoWayAudioChannelList><TwoWayAudioChannel><id>1</id><audioCompressionType>G.711ulaw</audioCompressionType></TwoWayAudioChannel></TwoWayAudioChannelList>")
	}
}

func (i *intercom) listen(from io.Reader) {
	sound := make([]byte, 1600)
	for {
		n, err := from.Read(sound)
		i.mu.Lock()
		i.heard += n
		i.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// goAway makes it hang up on everybody, or come back.
func (i *intercom) goAway(away bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.away = away
}

// state returns what it was told, whether it is open, and how much it has heard.
func (i *intercom) state() (told []string, open bool, heard int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.told), i.open, i.heard
}

func (i *intercom) Source(context.Context, ids.Device, int) (Source, error) {
	return Source{ISAPIURL: i.url}, nil
}

func newIntercom(t *testing.T) *intercom {
	i := &intercom{}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	i.url = server.URL
	return i
}

// lines returns lines to it, whose notes are in a folder.
func (i *intercom) lines(t *testing.T, dir string, retryAfter time.Duration) (*Lines, *notes.Folder) {
	t.Helper()
	client, err := device.New(device.Config{Allow: func(netip.AddrPort) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	folder, err := notes.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := newLines(Config{Sources: i, ISAPI: client, Notes: folder}, retryAfter)
	t.Cleanup(l.Close)
	return l, folder
}

// until waits for what a device does.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// talk talks until it is opened and heard.
func (i *intercom) talk(t *testing.T, l *Lines) *Line {
	t.Helper()
	line := l.Line("cam", 1, PCMU)
	told, _, before := i.state() // what another line has said may still come
	until(t, "it is heard", func() bool {
		line.Say([]byte("sound"), yes)
		now, open, heard := i.state()
		return len(now) > len(told) && open && heard > before
	})
	return line
}

func noted(t *testing.T, f *notes.Folder, want int) {
	t.Helper()
	until(t, "the notes are right", func() bool {
		list, err := f.All()
		return err == nil && len(list) == want
	})
}

// TestAKillWhileSomebodyTalks: the next process closes what it left open, by itself or
// before it is opened.
func TestAKillWhileSomebodyTalks(t *testing.T) {
	for name, test := range map[string]struct {
		retryAfter time.Duration
		then       func(t *testing.T, i *intercom, l *Lines)
	}{
		"by itself":           {time.Millisecond, func(*testing.T, *intercom, *Lines) {}},
		"before it is opened": {time.Hour, func(t *testing.T, i *intercom, l *Lines) { i.talk(t, l).Leave(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			i, dir := newIntercom(t), t.TempDir()
			killed, folder := i.lines(t, dir, time.Hour)
			i.talk(t, killed) // its line is closed when all is over
			noted(t, folder, 1)
			next, _ := i.lines(t, dir, test.retryAfter)
			test.then(t, i, next)
			noted(t, folder, 0)
			if told, open, _ := i.state(); open || told[1] != "close" {
				t.Errorf("told %v, open: %v", told, open)
			}
		})
	}
}

// TestADeviceThatIsAwayAtTheEnd is told later, by itself or before it is opened.
func TestADeviceThatIsAwayAtTheEnd(t *testing.T) {
	for name, retryAfter := range map[string]time.Duration{"by itself": time.Millisecond, "before it is opened": time.Hour} {
		t.Run(name, func(t *testing.T) {
			i := newIntercom(t)
			l, folder := i.lines(t, t.TempDir(), retryAfter)
			line := i.talk(t, l)
			i.goAway(true)
			line.Leave(true)
			<-line.over
			noted(t, folder, 1)
			i.goAway(false)
			if retryAfter == time.Hour {
				i.talk(t, l).Leave(true)
			}
			noted(t, folder, 0)
			if _, open, _ := i.state(); open {
				t.Error("it is left open")
			}
		})
	}
}

// TestSomebodyElseTalks: a device that is busy by others is not told anything but to open.
func TestSomebodyElseTalks(t *testing.T) {
	i := newIntercom(t)
	i.open = true
	l, folder := i.lines(t, t.TempDir(), time.Millisecond)
	line := l.Line("cam", 1, PCMU)
	until(t, "it is asked", func() bool {
		line.Say([]byte("sound"), yes)
		told, _, _ := i.state()
		return len(told) > 0
	})
	noted(t, folder, 0)
	line.Leave(true)
	<-line.over
	if told, open, _ := i.state(); !open || slices.Contains(told, "close") {
		t.Errorf("told %v, open: %v", told, open)
	}
}
