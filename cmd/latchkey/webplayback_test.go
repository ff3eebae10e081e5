package main

import (
	"context"
	bits "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"latchkey/internal/simcamera/picture"
)

// reelMessage is what a browser is told.
type reelMessage struct {
	Start      time.Time
	Seek, MIME string
	Speed      float64
	Paused     bool
	End        string
}

// reelClient plays recordings over a WebSocket, as a browser.
type reelClient struct {
	t    testing.TB
	conn *websocket.Conn

	mu    sync.Mutex
	told  []reelMessage
	file  []byte      // segments and fragments, since the last start
	walls []time.Time // what pictures show, since the last start
	count int         // of binary messages
	begun time.Time   // when the first fragment since the last start came
	err   error       // why the connection ended
}

// reel connects to the recordings of a channel; status is that of a refusal.
func (u *user) reel(device string) (c *reelClient, status int) {
	u.t.Helper()
	conn, res, err := websocket.Dial(u.t.Context(), "ws://"+u.api.host+"/api/v1/devices/"+device+"/channels/1/playback",
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + u.token}}})
	if err != nil {
		if res == nil {
			u.t.Fatal(err)
		}
		return nil, res.StatusCode
	}
	conn.SetReadLimit(16 << 20)
	c = &reelClient{t: u.t, conn: conn}
	var reading sync.WaitGroup
	reading.Go(c.read)
	u.t.Cleanup(func() { _ = conn.CloseNow(); reading.Wait() })
	return c, http.StatusSwitchingProtocols
}

func (c *reelClient) read() {
	for {
		kind, data, err := c.conn.Read(context.Background())
		c.mu.Lock()
		switch {
		case err != nil:
			c.err = err
			c.mu.Unlock()
			return
		case kind == websocket.MessageText:
			var m reelMessage
			if err := json.Unmarshal(data, &m); err != nil {
				c.err = err
			}
			if c.told = append(c.told, m); !m.Start.IsZero() {
				c.file, c.walls, c.begun = nil, nil, time.Time{}
			}
		case c.last().MIME != "" && len(c.file) == 0:
			c.file = append(c.file, data...)
		default:
			if c.begun.IsZero() {
				c.begun = time.Now()
			}
			c.count++
			c.file = append(c.file, data[16:]...)
			if ms := math.Float64frombits(bits.BigEndian.Uint64(data)); ms != 0 {
				c.walls = append(c.walls, time.UnixMicro(int64(math.Round(ms*1000))).UTC())
			}
		}
		c.mu.Unlock()
	}
}

func (c *reelClient) last() reelMessage {
	if len(c.told) == 0 {
		return reelMessage{}
	}
	return c.told[len(c.told)-1]
}

func (c *reelClient) say(order string) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, []byte(order)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *reelClient) seek(at time.Time) string {
	c.t.Helper()
	text := at.UTC().Format(time.RFC3339Nano)
	c.say(fmt.Sprintf(`{"seek":%q}`, text))
	return text
}

// is reports something of what was received.
func (c *reelClient) is(what func() bool) func() bool {
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return what()
	}
}

// started reports whether the answer to a seek has come, and a picture of it.
func (c *reelClient) started(text string) func() bool {
	return c.is(func() bool {
		answered := slices.ContainsFunc(c.told, func(m reelMessage) bool { return !m.Start.IsZero() && m.Seek == text })
		return answered && len(c.walls) > 0
	})
}

// connectionsTo counts the connections of this machine to an address.
func connectionsTo(t testing.TB, address string) (n int) {
	t.Helper()
	addr := netip.MustParseAddrPort(address)
	ip := addr.Addr().As4()
	want := fmt.Sprintf("%08X:%04X 01", bits.LittleEndian.Uint32(ip[:]), addr.Port())
	raw, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[2]+" "+fields[3] == want {
			n++
		}
	}
	return n
}

// TestRecordingsInABrowser: a recipient plays and seeks with the real binary, and each
// picture shows what is said of it; twenty seeks leave one connection to the recorder, and
// nothing comes after the answer of the command that takes playback away.
func TestRecordingsInABrowser(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.4.9")
	s := serve(t, binary, t.TempDir())
	owner, rita, sam := s.register(t, "olga"), s.register(t, "rita"), s.register(t, "sam")
	var device deviceAnswer
	owner.must("POST", "/devices", simCamera(cam, "Door"), &device)
	share := owner.share(rita, device.ID, "playback", "live_view")
	rita.accept(share, device.ID)
	if _, status := sam.reel(device.ID); status != 404 {
		t.Errorf("a stranger: status %d", status)
	}
	c, status := rita.reel(device.ID)
	if status != 101 {
		t.Fatalf("connecting: status %d", status)
	}
	day := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	first := c.seek(day)
	eventually(t, "three seconds are played", func() bool {
		return c.started(first)() && c.is(func() bool { return len(c.walls) > 75 })()
	})
	c.mu.Lock()
	file, walls, start := slices.Clone(c.file), slices.Clone(c.walls), c.told[0]
	c.mu.Unlock()
	if !start.Start.Equal(day) || start.Speed != 1 {
		t.Errorf("it starts with %+v", start)
	}
	for i, at := range shownBy(t, file)[:75] {
		if off := walls[i].Sub(at); !at.Equal(day.Add(time.Duration(i)*40*time.Millisecond).Truncate(100*time.Millisecond)) || off < 0 || off > 100*time.Millisecond {
			t.Fatalf("picture %d shows %v, and is said to show %v", i, at, walls[i])
		}
	}

	var viewers struct {
		Items []struct{ ID, Transport, Address string }
	}
	owner.must("GET", "/devices/"+device.ID+"/viewers", nil, &viewers)
	if len(viewers.Items) != 1 || viewers.Items[0].Transport != "websocket" || viewers.Items[0].Address != "127.0.0.1" {
		t.Errorf("the viewers: %+v", viewers)
	}

	var took []time.Duration
	for i := range 20 {
		asked := time.Now()
		text := c.seek(day.Add(time.Duration(i) * 7 * time.Minute))
		eventually(t, "a seek is played", c.started(text))
		c.mu.Lock()
		took = append(took, c.begun.Sub(asked))
		c.mu.Unlock()
	}
	slices.Sort(took)
	t.Logf("from a seek to its first picture: p50 %v, p95 %v", took[10], took[18])

	c.mu.Lock()
	before, most, text := len(c.told), 0, ""
	c.mu.Unlock()
	for i := range 20 {
		text = c.seek(day.Add(time.Duration(i) * time.Hour))
		for range 10 {
			most = max(most, connectionsTo(t, cam.RTSPAddr()))
			time.Sleep(25 * time.Millisecond)
		}
	}
	eventually(t, "the last seek is played", c.started(text))
	c.mu.Lock()
	if at := c.walls[0]; at.Before(day.Add(19*time.Hour)) || at.After(day.Add(19*time.Hour+time.Second)) {
		t.Errorf("the last seek shows %v", at)
	}
	answers := len(c.told) - before
	c.mu.Unlock()
	if most > 1 {
		t.Errorf("twenty seeks had %d connections to the recorder at once", most)
	}
	t.Logf("twenty seeks in five seconds: %d messages", answers)

	c.say(`{"pause":true}`)
	eventually(t, "it is paused", c.is(func() bool { return c.last().Paused }))
	c.mu.Lock()
	paused := c.walls[len(c.walls)-1]
	c.mu.Unlock()
	c.say(`{"pause":false}`)
	eventually(t, "it goes on", c.is(func() bool { return len(c.walls) > 5 && !c.last().Paused }))
	c.mu.Lock()
	if at := c.walls[0]; at.Sub(paused).Abs() > time.Second {
		t.Errorf("paused at %v it goes on at %v", paused, at)
	}
	c.mu.Unlock()
	c.say(`{"speed":4}`)
	eventually(t, "it is faster", c.is(func() bool { return c.told[len(c.told)-2].Speed == 4 && len(c.walls) > 25 }))
	c.mu.Lock()
	if d := c.walls[25].Sub(c.walls[0]); d < 3*time.Second || d > 5*time.Second {
		t.Errorf("25 pictures at four times the speed are of %v", d)
	}
	c.mu.Unlock()

	owner.must("PUT", "/shares/"+share+"/devices/"+device.ID, invitation(device.ID, "live_view"), nil)
	if n := connectionsTo(t, cam.RTSPAddr()); n > 1 {
		t.Errorf("%d connections to the recorder are left", n)
	}
	eventually(t, "the browser sees the end", c.is(func() bool { return c.err != nil }))
	if _, status := rita.reel(device.ID); status != 403 {
		t.Errorf("without playback: status %d", status)
	}
	eventually(t, "the recorder is left", func() bool { return connectionsTo(t, cam.RTSPAddr()) == 0 })

	// The owner ends a viewer, and a session ends what it began.
	mine, _ := owner.reel(device.ID)
	mine.seek(day)
	eventually(t, "the owner plays", mine.is(func() bool { return len(mine.walls) > 5 }))
	owner.must("GET", "/devices/"+device.ID+"/viewers", nil, &viewers)
	owner.must("DELETE", "/devices/"+device.ID+"/viewers/"+viewers.Items[0].ID, nil, nil)
	eventually(t, "the owner's ends", mine.is(func() bool { return mine.err != nil }))
	long := strings.Repeat(" ", 1024) + "{}"
	for _, bad := range []string{"", "x", long, "{}", `{"seek":"yesterday"}`, `{"speed":3}`, `{"pause":true,"speed":2}`, `{"seek":"2026-01-01T00:00:00Z"} {}`} {
		wrong, _ := owner.reel(device.ID)
		wrong.say(bad)
		eventually(t, "an order that is none ends the connection", wrong.is(func() bool { return wrong.err != nil }))
		want := websocket.StatusPolicyViolation
		if bad == long {
			want = websocket.StatusMessageTooBig
		}
		if e := (websocket.CloseError{}); !errors.As(wrong.err, &e) || e.Code != want || e.Reason == "" {
			t.Errorf("%.80q: %v; want the code %d", bad, wrong.err, want)
		}
	}
	other, _ := owner.reel(device.ID)
	other.seek(day)
	eventually(t, "the owner plays again", other.is(func() bool { return len(other.walls) > 5 }))
	owner.must("DELETE", "/sessions/current", nil, nil)
	eventually(t, "it ends with the session", other.is(func() bool { return other.err != nil }))
	if said := s.said(); strings.Contains(said, "hijacked") || strings.Contains(said, "panic") || strings.Contains(said, cam.RTSPAddr()) {
		t.Error("the log says what it should not")
	}
}

// shownBy decodes MP4, and returns what its pictures show.
func shownBy(t *testing.T, file []byte) (list []time.Time) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.mp4")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-i", name, "-an", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	const size = 640 * 360
	for i := 0; i+size <= len(out); i += size {
		at, err := picture.ReadClock(out[i:], 640, 360)
		if err != nil {
			t.Fatalf("picture %d: %v", i/size, err)
		}
		list = append(list, at)
	}
	return list
}
