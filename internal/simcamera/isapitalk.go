package simcamera

import (
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// talkTimeout ends a connection that carries raw sound but has gone silent.
const talkTimeout = 30 * time.Second

type talkChannel struct {
	ID      int    `xml:"id"`
	Enabled bool   `xml:"enabled"`
	Codec   string `xml:"audioCompressionType"`
	Input   string `xml:"audioInputType"`
}

func (s *httpServer) talkChannels(w http.ResponseWriter, _ *http.Request) {
	var out struct {
		XMLName   xml.Name      `xml:"TwoWayAudioChannelList"`
		Version   string        `xml:"version,attr"`
		Namespace string        `xml:"xmlns,attr"`
		Channels  []talkChannel `xml:"TwoWayAudioChannel"`
	}
	out.Version, out.Namespace = "2.0", isapiNamespace
	for _, ch := range s.camera.channels {
		out.Channels = append(out.Channels,
			talkChannel{ID: ch.number, Enabled: s.camera.talk.isOpen(ch.number), Codec: "G.711ulaw", Input: "MicIn"})
	}
	writeXML(w, http.StatusOK, out)
}

// talkChannel returns the two-way audio channel that a request names.
func (s *httpServer) talkChannel(r *http.Request) (int, bool) {
	id, err := strconv.Atoi(r.PathValue("channel"))
	return id, err == nil && s.camera.channel(id) != nil
}

func (s *httpServer) openTalk(w http.ResponseWriter, r *http.Request) {
	id, ok := s.talkChannel(r)
	switch {
	case !ok:
		respond(w, r, statusInvalidOperation)
	case !s.camera.talk.open(id):
		respond(w, r, statusBusy)
	default:
		respond(w, r, statusOK)
	}
}

func (s *httpServer) closeTalk(w http.ResponseWriter, r *http.Request) {
	id, ok := s.talkChannel(r)
	if !ok {
		respond(w, r, statusInvalidOperation)
		return
	}
	s.camera.talk.close(id)
	s.mu.Lock()
	for conn, channel := range s.talks {
		if channel == id {
			conn.Close()
		}
	}
	s.mu.Unlock()
	respond(w, r, statusOK)
}

// audioData receives G.711: in the body or, if the request announces none, on the
// connection from then on, as devices of this kind do.
func (s *httpServer) audioData(w http.ResponseWriter, r *http.Request) {
	id, ok := s.talkChannel(r)
	if !ok || !s.camera.talk.isOpen(id) {
		respond(w, r, statusInvalidOperation)
		return
	}
	if r.ContentLength != 0 {
		_ = s.hear(r.Body) // the response is the same however it ends
		respond(w, r, statusOK)
		return
	}

	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		respond(w, r, statusBusy)
		return
	}
	if !s.holdTalk(conn, id) {
		return
	}
	defer s.releaseTalk(conn)
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return
	}
	_ = s.hear(deadlineReader{conn, buffered})
}

// hear counts what a reader returns until its end.
func (s *httpServer) hear(from io.Reader) error {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			s.camera.talk.hear(n)
		}
		if err != nil {
			return err
		}
	}
}

// deadlineReader reads what a connection has buffered and then what comes, each read
// within talkTimeout.
type deadlineReader struct {
	conn net.Conn
	from io.Reader
}

// Read implements io.Reader.
func (d deadlineReader) Read(p []byte) (int, error) {
	if err := d.conn.SetReadDeadline(time.Now().Add(talkTimeout)); err != nil {
		return 0, err
	}
	return d.from.Read(p)
}

// holdTalk keeps a connection that net/http has let go of, so that close ends it too.
func (s *httpServer) holdTalk(conn net.Conn, channel int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.talks[conn] = channel
	return true
}

func (s *httpServer) releaseTalk(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.talks, conn)
	conn.Close()
}
