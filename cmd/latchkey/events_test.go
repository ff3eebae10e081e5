package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// eventStream reads server-sent events.
type eventStream struct {
	t      testing.TB
	body   io.Closer
	events chan sentEvent // closed when the stream ends
}

type sentEvent struct{ id, name, data string }

// follow opens a stream of events. status is that of an answer that is none.
func (u *user) follow(lastID string) (s *eventStream, status int) {
	u.t.Helper()
	r, err := http.NewRequest("GET", "http://"+u.api.host+"/api/v1/events", nil)
	if err != nil {
		u.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+u.token)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { a.Body.Close() })
	if a.StatusCode != 200 {
		return nil, a.StatusCode
	}
	s = &eventStream{t: u.t, body: a.Body, events: make(chan sentEvent, 100)}
	go s.read(a.Body)
	return s, 200
}

func (s *eventStream) read(r io.Reader) {
	defer close(s.events)
	var e sentEvent
	for lines := bufio.NewScanner(r); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				s.events <- e
			}
			e = sentEvent{}
		}
	}
}

func (s *eventStream) next() (e sentEvent, ok bool) {
	s.t.Helper()
	select {
	case e, ok = <-s.events:
	case <-time.After(patience):
		s.t.Fatal("no event comes")
	}
	return e, ok
}

func (s *eventStream) want(name, share, device string) (id string) {
	s.t.Helper()
	e, ok := s.next()
	if !ok || e.name != name || !strings.Contains(e.data, fmt.Sprintf(`"share":%q`, share)) || device != "" && !strings.Contains(e.data, fmt.Sprintf(`"device":%q`, device)) {
		s.t.Fatalf("got %+v, want %s of device %s in share %s", e, name, device, share)
	}
	return e.id
}

func (s *eventStream) wantEnd(why string) {
	s.t.Helper()
	if e, ok := s.next(); ok {
		s.t.Fatalf("%s: the stream goes on with %+v", why, e)
	}
}

// TestEventsOfAnAccount: owner and recipient follow a share, across a restart, and the
// stream ends with its session and with the service.
func TestEventsOfAnAccount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, binary, dir)
	owner, recipient, stranger := s.register(t, "owner"), s.register(t, "recipient"), s.register(t, "stranger")
	open := func(u *user, lastID string) *eventStream {
		t.Helper()
		stream, status := u.follow(lastID)
		if status != 200 {
			t.Fatalf("status %d", status)
		}
		return stream
	}
	theirs, mine, others := open(owner, ""), open(recipient, ""), open(stranger, "")
	for _, stream := range []*eventStream{theirs, mine, others} {
		if e, _ := stream.next(); e.name != "ready" {
			t.Fatalf("the stream begins with %+v", e)
		}
	}
	device := owner.addDevice("rtsp://127.0.0.1:1/cam", "u", "p")
	if e, _ := theirs.next(); e.name != "device_added" {
		t.Errorf("got %+v", e)
	}
	share := owner.share(recipient, device, "live_view")
	theirs.want("share_created", share, "")
	theirs.want("invited", share, device)
	last := mine.want("invited", share, device)
	recipient.accept(share, device)
	theirs.want("accepted", share, device)

	if code := s.stop(t); code != 0 {
		t.Errorf("with open streams it ends with status %d", code)
	}
	others.wantEnd("the service stopped") // and the stranger heard nothing
	s = serve(t, binary, dir)
	owner, recipient = s.login(t, "owner"), s.login(t, "recipient")
	owner.must("DELETE", "/shares/"+share+"/devices/"+device, nil, nil)
	mine = open(recipient, last)
	mine.want("accepted", share, device)
	mine.want("device_withdrawn", share, device)
	if e, _ := mine.next(); e.name != "ready" {
		t.Errorf("after what was missed comes %+v", e)
	}
	recipient.must("DELETE", "/sessions/current", nil, nil)
	mine.wantEnd("the session ended")
	if _, status := recipient.follow(""); status != 401 {
		t.Errorf("without a session: status %d", status)
	}
	if _, status := owner.follow("x"); status != 400 {
		t.Errorf("with an id that is none: status %d", status)
	}
	beyond := open(owner, "99999999999")
	if e, _ := beyond.next(); e.name != "reset" {
		t.Errorf("after a position that the log has not reached: %+v", e)
	}
}
