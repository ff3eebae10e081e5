package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/app"
)

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestBodiesOfFaults: a body that is made of faults costs a few times its size, and
// twenty of them are told.
func TestBodiesOfFaults(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner")
	var unknown, channels strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&unknown, `"key%d":%d,`, i, i)
		channels.WriteString(`{"x":1},`)
	}
	for name, body := range map[string]string{
		"unknown fields":         `{` + unknown.String() + `"name":"a"}`,
		"unknown fields within":  `{"name":{` + unknown.String() + `"a":1}}`,
		"a list without an end":  `{"channels":[` + channels.String() + `{}]}`,
		"a field that is a list": `{"name":[` + strings.Repeat("1,", 400_000) + `1]}`,
		"511 wrong entries":      `{"name":"a","channels":[` + strings.Repeat(`{"x":1},`, 510) + `{}]}`,
	} {
		took := allocated(func() {
			p := w.wantProblem(w.do("POST", "/api/v1/devices", owner.token, body), 422, "invalid_body")
			if n := len(p.Errors); n == 0 || n > maxFields {
				t.Errorf("%s: %d faults are told", name, n)
			}
		})
		if took > uint64(8*len(body)+4<<20) {
			t.Errorf("%s: %d bytes were allocated for a body of %d", name, took, len(body))
		}
	}
}

// TestBodyOfAStranger: what needs no session takes 4 KiB, said before or not.
func TestBodyOfAStranger(t *testing.T) {
	w := newWorld(t)
	body := `{"login":"` + strings.Repeat("a", MaxPublicBody) + `","password":"b"}`
	w.wantProblem(w.do("POST", "/api/v1/sessions", "", body), 413, "body_too_large")
	r := w.request("POST", "/api/v1/sessions", "", body)
	r.ContentLength = -1
	w.wantProblem(w.send(r), 413, "body_too_large")
}

// TestNetworkBeforeBody: a network that has used up what it may do is refused
// before its body is read, and its connection is closed.
func TestNetworkBeforeBody(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.NetworkBurst, c.NetworkEvery = 1, time.Hour })
	server := httptest.NewServer(w.server.Handler())
	defer server.Close()
	for i, body := range []string{"{}", ""} { // the second one never comes
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(bodyGrace / 2))
		fmt.Fprintf(conn, "POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n%s", body)
		a, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{422, 429}[i]; a.StatusCode != want || a.Close != (want == 429) {
			t.Errorf("answered %d, want %d; the connection is closed: %v", a.StatusCode, want, a.Close)
		}
		_ = a.Body.Close()
	}
}

// slowBody gives a byte in each interval, and ends with the deadline.
type slowBody struct {
	every    time.Duration
	deadline time.Time
}

func (b *slowBody) Read(p []byte) (int, error) {
	time.Sleep(min(b.every, time.Until(b.deadline)))
	if !time.Now().Before(b.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	p[0] = 'a'
	return 1, nil
}

// TestSlowBody: a body that comes too slowly is given up when its grace is over.
func TestSlowBody(t *testing.T) {
	for _, every := range []time.Duration{time.Millisecond, time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			body := &slowBody{every: every}
			r := &bodyReader{budget: newBudget(1<<20, 1<<20), most: 1 << 20, began: time.Now(), until: func(d time.Time) error { body.deadline = d; return nil }}
			began := time.Now()
			_, err := r.read(body, 100_000)
			var p *problem
			if !errors.As(err, &p) || p.status != http.StatusRequestTimeout {
				t.Errorf("a byte every %v: %v", every, err)
			}
			if took := time.Since(began); took > bodyGrace+time.Second {
				t.Errorf("a byte every %v: given up after %v", every, took)
			}
		})
	}
}

// TestBudgetOfBodies: one owner holds no more than its part, all of them no more
// than there is, and what was held is given back.
func TestBudgetOfBodies(t *testing.T) {
	b := newBudget(10_000, 4_000)
	hold := func(owner string, length int64) (*bodyReader, error) {
		r := &bodyReader{budget: b, owner: owner, most: 5_000, began: time.Now()}
		_, err := r.read(strings.NewReader(strings.Repeat("a", int(max(length, 0)))), length)
		return r, err
	}
	var held []*bodyReader
	for _, owner := range []string{"ann", "bob", "cleo"} {
		r, err := hold(owner, 3_000)
		if err != nil {
			t.Fatal(owner, err)
		}
		held = append(held, r)
	}
	for _, owner := range []string{"ann", "dan"} {
		r, err := hold(owner, 1_001)
		var p *problem
		if !errors.As(err, &p) || p.code != "busy" || p.header.Get("Retry-After") == "" {
			t.Errorf("one more of %s: %v", owner, err)
		}
		r.release()
	}
	for _, r := range held {
		r.release()
	}
	if b.taken != 0 || len(b.by) != 0 {
		t.Errorf("%d bytes are not given back: %v", b.taken, b.by)
	}
}

// TestBodyOfUnknownLength grows within the bound, and holds what it takes.
func TestBodyOfUnknownLength(t *testing.T) {
	b := newBudget(1<<21, 1<<21)
	for _, length := range []int{0, 1, firstPiece - 1, firstPiece, firstPiece + 1, MaxBody, MaxBody + 1} {
		r := &bodyReader{budget: b, owner: "ann", most: MaxBody, began: time.Now()}
		raw, err := r.read(strings.NewReader(strings.Repeat("a", length)), -1)
		if (err == nil) != (length <= MaxBody) || err == nil && (len(raw) != length || r.held < length) {
			t.Errorf("%d bytes: %d are read, %d held, %v", length, len(raw), r.held, err)
		}
		r.release()
	}
	if b.taken != 0 {
		t.Errorf("%d bytes are not given back", b.taken)
	}
}

// raw sends what stands in a request, as it is, to a server with a device, and returns
// the answer. closing closes the client's side behind it.
func (w *world) raw(address, request string, closing bool) *http.Response {
	w.t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * bodyGrace))
	fmt.Fprint(conn, request)
	if closing {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			w.t.Fatal(err)
		}
	}
	a, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatalf("%.60q: %v", request, err)
	}
	w.t.Cleanup(func() { _ = a.Body.Close() })
	return a
}

// TestBodiesThatNeverCome: an operation without a body is answered at once, one with
// a body when the body was too slow.
func TestBodiesThatNeverCome(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner")
	server := httptest.NewServer(w.server.Handler())
	t.Cleanup(server.Close) // behind the connections
	address := server.Listener.Addr().String()
	session := "Authorization: Bearer " + owner.token + "\r\n"
	for request, want := range map[string]int{
		"DELETE /api/v1/devices/none HTTP/1.1\r\n" + session:                            404,
		"GET /api/v1/devices HTTP/1.1\r\n" + session:                                    200,
		"POST /api/v1/devices HTTP/1.1\r\n":                                             401,
		"POST /nope HTTP/1.1\r\n":                                                       404,
		"GET /healthz HTTP/1.1\r\n":                                                     200,
		"POST /api/v1/devices HTTP/1.1\r\nContent-Type: application/json\r\n" + session: 408,
		"POST /api/v1/sessions HTTP/1.1\r\nContent-Type: application/json\r\n":          408,
	} {
		began := time.Now()
		a := w.raw(address, request+"Host: a\r\nContent-Length: 30\r\n\r\n{", false)
		if a.StatusCode != want || !a.Close {
			t.Errorf("%.40q: answered %d, want %d; the connection is closed: %v", request, a.StatusCode, want, a.Close)
		}
		if took := time.Since(began); want != 408 && took > bodyGrace {
			t.Errorf("%.40q: answered after %v", request, took)
		}
		if want == 408 {
			body, err := io.ReadAll(a.Body)
			if err != nil || !strings.Contains(string(body), "body_too_slow") {
				t.Errorf("%.40q: answered %s, %v", request, body, err)
			}
		}
	}
}

// TestHalfClosed: a client that closes its side behind a command has given it.
func TestHalfClosed(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner")
	server := httptest.NewServer(w.server.Handler())
	t.Cleanup(server.Close) // behind the connections
	for range 10 {
		id := w.camera(owner, "door")
		a := w.raw(server.Listener.Addr().String(), "DELETE /api/v1/devices/"+id+" HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "+owner.token+"\r\n\r\n", true)
		if a.StatusCode != http.StatusNoContent {
			t.Errorf("answered %d", a.StatusCode)
		}
		w.wantStatus(w.do("GET", "/api/v1/devices/"+id, owner.token, nil), 404)
	}
}

// TestIgnoredValues: what PUT takes back of GET, and does not read, may not be of any
// size.
func TestIgnoredValues(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner")
	for name, body := range map[string]string{
		"objects": `{"devices":[],"from":{"a":[` + strings.Repeat(`{"":0},`, 145_000) + `{}]}}`,
		"lists":   `{"devices":[],"from":{"a":[` + strings.Repeat(`[],`, 340_000) + `[]]}}`,
		"numbers": `{"devices":[],"recipient":{"a":[` + strings.Repeat(`1,`, 500_000) + `1]}}`,
	} {
		took := allocated(func() { w.wantProblem(w.do("PUT", "/api/v1/shares/x", owner.token, body), 422, "invalid_body") })
		if took > uint64(2*len(body)+4<<20) {
			t.Errorf("%s: %d bytes were allocated for a body of %d", name, took, len(body))
		}
	}
}

// TestLargeBodiesInTurn: so many large bodies are worked on at once, small ones go
// past them, and a turn ends with the answer.
func TestLargeBodiesInTurn(t *testing.T) {
	w := newWorld(t)
	owner := w.person("owner")
	body := `{"name":"` + strings.Repeat("n", largeBody) + `"}`
	strangers := 0
	for ; strangers < w.server.large.all; strangers++ {
		w.server.large.take(t.Context(), fmt.Sprint("stranger ", strangers))
	}
	answered := make(chan answer, 1)
	go func() { answered <- w.do("POST", "/api/v1/devices", owner.token, body) }()
	w.camera(owner, "small")
	select {
	case a := <-answered:
		t.Errorf("a large body is not waited with: %s", a.Status)
	default:
	}
	for i := range strangers {
		w.server.large.give(fmt.Sprint("stranger ", i))
	}
	w.wantProblem(<-answered, 422, "invalid_body")
	if n := w.server.large.taken; n != 0 {
		t.Errorf("%d turns are not over", n)
	}
}

// TestWaitingCommandsKeepNoBodyTurn: a large body whose command waits for its turn does
// not keep the large body of another account from being decoded.
func TestWaitingCommandsKeepNoBodyTurn(t *testing.T) {
	w := newWorld(t)
	mallory, olga := w.person("mallory"), w.person("olga")
	gives := w.server.commands.turns[app.Gives]
	for range gives.one {
		gives.take(t.Context(), mallory.id)
	}
	body := `{"name":"` + strings.Repeat("n", largeBody) + `"}`
	answered := make(chan answer, 1)
	go func() { answered <- w.do("POST", "/api/v1/devices", mallory.token, body) }()
	for waiting := 0; waiting == 0; {
		gives.mu.Lock()
		waiting = len(gives.waiting[mallory.id])
		gives.mu.Unlock()
	}
	w.wantProblem(w.do("POST", "/api/v1/devices", olga.token, body), 422, "invalid_body")
	for range gives.one {
		gives.give(mallory.id)
	}
	w.wantProblem(<-answered, 422, "invalid_body")
}
