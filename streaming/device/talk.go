package device

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

const (
	// talkAnswerWithin is how long a device may take to respond before the sound: some
	// respond at its end.
	talkAnswerWithin = 2 * time.Second
	// talkWriteWithin limits the sending of one piece of sound.
	talkWriteWithin = time.Second
	// talkCloseWithin limits the end of a talk.
	talkCloseWithin = 4 * time.Second
	maxTalkWrite    = 16 << 10 // bytes: two seconds of sound
	maxTalkSession  = 64       // bytes of a session's id
)

// TalkTarget is a channel of a device that is to be talked to by ISAPI.
type TalkTarget struct {
	Username, Password string // "": none are sent
	ISAPIURL           string
	Certificate        rtspclient.Fingerprint // of https, as the owner has confirmed it; zero: it must be valid
	Channel            int
}

// TalkCodec is what a device wants to hear, at 8 kHz.
type TalkCodec string

// The codecs that are passed through.
const (
	PCMU TalkCodec = "PCMU" // G.711 µ-law
	PCMA TalkCodec = "PCMA" // G.711 A-law
)

// otherCodecs are the codecs of devices that are refused, by the beginning of their names
// in ISAPI.
var otherCodecs = []struct{ in, name string }{
	{"g.722.1", "G.722.1"}, {"g.722", "G.722"}, {"g.726", "G.726"}, {"g.723", "G.723"}, {"g.729", "G.729"},
	{"aac", "AAC"}, {"mp2", "MP2"}, {"mp3", "MP3"}, {"pcm", "PCM"}, {"opus", "Opus"},
}

// Talk is an open two-way audio channel of a device. It must be closed, else the device
// stays busy.
type Talk struct {
	client *Client
	target TalkTarget
	codec  TalkCodec
	query  string // names the session, if the device has given it an id

	writeWithin time.Duration

	mu     sync.Mutex
	conn   net.Conn
	failed error
	closed bool
}

// ErrLeftOpen is wrapped by the error of a Talk that may have left its channel open: until
// it is closed, the device may refuse everybody.
var ErrLeftOpen = errors.New("a device may have been left busy")

// leftOpen returns a failure that wraps ErrLeftOpen.
func leftOpen(err error) error { return fmt.Errorf("%w: %w", ErrLeftOpen, err) }

// Talk opens two-way audio of a channel. Its errors are *Failure: Busy if somebody else
// talks, UnsupportedCodec if the device wants something else than G.711, Refused if it has
// no such channel; or wrap one and ErrLeftOpen. Nothing is retried.
func (c *Client) Talk(ctx context.Context, t TalkTarget) (talk *Talk, err error) {
	opened := false // or it is not known
	defer func() {
		if r := recover(); r != nil { // caused by a device's response
			c.cfg.Logger.Error("talking to a device panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			if talk, err = nil, fail(Unsupported, ISAPI); opened {
				err = leftOpen(err)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Within)
	defer cancel()
	talk = &Talk{client: c, target: t, writeWithin: talkWriteWithin}
	err = talk.with(ctx, func(i isapi) (err error) {
		if talk.codec, err = i.talkCodec(ctx, t.Channel); err != nil {
			return err
		}
		opened = true
		if talk.query, err = i.openTalk(ctx, t.Channel); err != nil {
			opened = !refused(err)
			return err
		}
		talk.conn, err = i.audioData(ctx, t.Channel, talk.query)
		return err
	})
	if err == nil {
		return talk, nil
	}
	if opened && talk.hangUp(context.WithoutCancel(ctx)) != nil { // the first error says more
		err = leftOpen(err)
	}
	return nil, err
}

// HangUp closes a channel that an earlier Talk may have left open: also that of another
// program that has opened it since. Its errors wrap ErrLeftOpen.
func (c *Client) HangUp(ctx context.Context, t TalkTarget) (err error) {
	defer func() {
		if r := recover(); r != nil { // caused by a device's response
			c.cfg.Logger.Error("closing a talk to a device panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = leftOpen(fail(Unsupported, ISAPI))
		}
	}()
	return (&Talk{client: c, target: t}).hangUp(ctx)
}

// refused reports whether a request to open a channel has certainly not opened it.
func refused(err error) bool {
	var failure *Failure
	if !errors.As(err, &failure) {
		return false
	}
	switch failure.Kind {
	case Busy, Refused, WrongPassword, TooManyAttempts, TooManyProofs, AddressForbidden, CertificateNotTrusted:
		return true
	}
	return false
}

// TalkCodec returns what a channel of a device wants to hear, without talking. Its errors
// are those of Talk.
func (c *Client) TalkCodec(ctx context.Context, t TalkTarget) (codec TalkCodec, err error) {
	defer func() {
		if r := recover(); r != nil { // caused by a device's response
			c.cfg.Logger.Error("asking a device about talk panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			codec, err = "", fail(Unsupported, ISAPI)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Within)
	defer cancel()
	talk := &Talk{client: c, target: t}
	err = talk.with(ctx, func(i isapi) (err error) {
		codec, err = i.talkCodec(ctx, t.Channel)
		return err
	})
	return codec, err
}

// Codec returns what Write takes.
func (t *Talk) Codec() TalkCodec { return t.codec }

// with opens a conversation with the device.
func (t *Talk) with(ctx context.Context, do func(isapi) error) error {
	p := &proof{client: t.client, target: Target{Username: t.target.Username, Password: t.target.Password, Certificate: t.target.Certificate}, trusting: true}
	defer p.settle()
	s, err := newHTTPSession(ctx, p, ISAPI, t.target.ISAPIURL)
	if err != nil {
		return err
	}
	defer s.close()
	return do(isapi{s})
}

// Write sends sound, of at most two seconds, as it comes: nothing is paced here. After an
// error every other Write returns it too.
func (t *Talk) Write(sound []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return 0, net.ErrClosed
	case t.failed != nil:
		return 0, t.failed
	case len(sound) > maxTalkWrite:
		return 0, fmt.Errorf("%d bytes of sound at once: at most %d", len(sound), maxTalkWrite)
	}
	err := t.conn.SetWriteDeadline(time.Now().Add(t.writeWithin))
	n := 0
	if err == nil {
		n, err = t.conn.Write(sound)
	}
	if err != nil { // a part of the sound may be missing: the rest would be noise
		t.failed = fail(kindOf(err, Unsupported), ISAPI)
	}
	return n, t.failed
}

// Close ends the talk, and notifies the device. Its error wraps ErrLeftOpen. Closing it
// again does nothing.
func (t *Talk) Close() error {
	t.mu.Lock()
	closed := t.closed
	t.closed = true
	t.mu.Unlock()
	if closed {
		return nil
	}
	_ = t.conn.Close() // what it has not sent is not said
	return t.hangUp(context.Background())
}

// hangUp tells the device that the talk is over. A device that refuses to close the channel
// has it closed.
func (t *Talk) hangUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, talkCloseWithin)
	defer cancel()
	err := t.with(ctx, func(i isapi) error {
		_, err := i.putTalk(ctx, t.target.Channel, "close", t.query)
		return err
	})
	var failure *Failure
	switch {
	case err == nil, errors.As(err, &failure) && failure.Kind == Refused:
		return nil
	case failure != nil:
		t.client.cfg.Logger.Debug("a device was not told that a talk has ended", slog.String("kind", string(failure.Kind)))
	}
	return leftOpen(err)
}

// talkCodec returns what a channel wants to hear.
func (i isapi) talkCodec(ctx context.Context, channel int) (TalkCodec, error) {
	doc, err := i.get(ctx, "/System/TwoWayAudio/channels")
	if err != nil {
		return "", err
	}
	codec, other, found := talkCodecOf(doc, channel)
	switch {
	case !found:
		return "", fail(Refused, ISAPI)
	case codec == "":
		return "", &Failure{Kind: UnsupportedCodec, Service: ISAPI, Codec: other}
	}
	return codec, nil
}

// talkCodecOf reads the codec of a channel from the list of channels: one that is passed
// through, or the name of another one, "" if it is unknown.
func talkCodecOf(doc *element, channel int) (codec TalkCodec, other string, found bool) {
	for _, e := range doc.all("TwoWayAudioChannel") {
		if e.words("id") != strconv.Itoa(channel) {
			continue
		}
		name := strings.ToLower(e.words("audioCompressionType"))
		switch name = strings.ReplaceAll(name, " ", ""); name {
		case "g.711ulaw", "g.711u", "g711ulaw", "pcmu":
			return PCMU, "", true
		case "g.711alaw", "g.711a", "g711alaw", "pcma":
			return PCMA, "", true
		}
		for _, known := range otherCodecs {
			if strings.HasPrefix(name, known.in) {
				return "", known.name, true
			}
		}
		return "", "", true
	}
	return "", "", false
}

func (i isapi) talkPath(channel int, what string) string {
	base := strings.TrimSuffix(strings.TrimSuffix(i.base.Path, "/"), "/ISAPI")
	return fmt.Sprintf("%s/ISAPI/System/TwoWayAudio/channels/%d/%s", base, channel, what)
}

// openTalk takes the channel. It returns a query that names the session, for devices that
// give it an id.
func (i isapi) openTalk(ctx context.Context, channel int) (query string, err error) {
	doc, err := i.putTalk(ctx, channel, "open", "")
	if err != nil {
		return "", err
	}
	return talkSession(doc), nil
}

func talkSession(doc *element) string {
	id := doc.words("sessionId")
	if doc == nil || doc.name != "TwoWayAudioSession" || id == "" || len(id) > maxTalkSession {
		return ""
	}
	return url.Values{"sessionId": {id}}.Encode()
}

func (i isapi) putTalk(ctx context.Context, channel int, what, query string) (*element, error) {
	i.query = query
	a, err := i.call(ctx, http.MethodPut, i.talkPath(channel, what), nil, nil)
	i.query = ""
	switch {
	case err != nil:
		return nil, err
	case a.status == http.StatusOK:
		if code := a.xml.words("statusCode"); a.xml != nil && a.xml.name == "ResponseStatus" && code != "1" && code != "" {
			return nil, refusedBy(a)
		}
		return a.xml, nil
	case a.status == http.StatusUnauthorized, a.status >= 300 && a.status < 400:
		return nil, fail(Unsupported, ISAPI)
	}
	return nil, refusedBy(a)
}

// refusedBy reads why a device refuses a talk.
func refusedBy(a answer) *Failure {
	busy := a.xml.words("statusCode") == "2" || strings.Contains(strings.ToLower(a.xml.words("subStatusCode")), "busy")
	if busy || strings.Contains(strings.ToLower(a.xml.words("subStatusCode")), "inuse") {
		return fail(Busy, ISAPI)
	}
	return fail(Refused, ISAPI)
}

// audioData opens a connection on which everything that follows the request is sound.
func (i isapi) audioData(ctx context.Context, channel int, query string) (net.Conn, error) {
	for try := 0; ; try++ {
		conn, res, err := i.sendAudio(ctx, channel, query) //nolint:bodyclose // it ends with the connection, which stays
		if err != nil {
			return nil, err
		}
		if res == nil || res.StatusCode == http.StatusOK {
			if err := conn.SetDeadline(time.Time{}); err != nil {
				conn.Close()
				return nil, fail(kindOf(err, Unsupported), ISAPI)
			}
			return conn, nil
		}
		conn.Close()
		if res.StatusCode != http.StatusUnauthorized {
			return nil, fail(Refused, ISAPI)
		}
		if try > 0 {
			i.tried.refused(i.proof.client.cfg.Now())
		}
		if try > 0 || i.proof.target.Username == "" {
			return nil, fail(WrongPassword, ISAPI)
		}
		// The nonce of the requests before is not good for this one.
		challenge := challengeOf(res.Header)
		if challenge == nil {
			return nil, fail(Unsupported, ISAPI)
		}
		if i.tried, err = i.proof.mayTry(ctx, i.addr, ISAPI); err != nil {
			return nil, err
		}
		i.answer(challenge)
	}
}

// sendAudio sends the request on a connection of its own. The response is nil if there is
// none yet.
func (i isapi) sendAudio(ctx context.Context, channel int, query string) (net.Conn, *http.Response, error) {
	u := *i.base
	u.Path, u.RawPath, u.RawQuery = i.talkPath(channel, "audioData"), "", query
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), http.NoBody)
	if err != nil {
		return nil, nil, fail(Unsupported, ISAPI)
	}
	req.Header.Set("User-Agent", upstream.Agent)
	req.Header.Set("Content-Type", "application/octet-stream")
	i.authorise(req)
	conn, err := i.connect(ctx, &u)
	if err != nil {
		return nil, nil, failed(err, Unsupported, ISAPI)
	}
	res, err := ask(conn, req)
	if err != nil {
		conn.Close()
		return nil, nil, fail(kindOf(err, Unsupported), ISAPI)
	}
	return conn, res, nil
}

// connect dials the device for something else than requests.
func (i isapi) connect(ctx context.Context, u *url.URL) (net.Conn, error) {
	port := u.Port()
	if port == "" {
		port = map[bool]string{true: "443", false: "80"}[u.Scheme == "https"]
	}
	conn, err := i.proof.client.dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	i.addr = conn.address()
	if u.Scheme != "https" {
		return conn, nil
	}
	secure, err := conn.over(ctx, u.Hostname(), i.proof.target.Certificate)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// ask sends a request and reads the head of the response, if one comes soon. What a device
// may say after it is not read.
func ask(conn net.Conn, req *http.Request) (*http.Response, error) {
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(talkAnswerWithin)); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return nil, nil
	}
	return res, err
}
