package alert

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

const (
	// MaxPart is the size of one message, in bytes.
	MaxPart = 64 << 10
	// MaxBody is how much of a body is read, in bytes, pictures included.
	MaxBody = 16 << 20
	// MaxChannel is the highest number of a channel.
	MaxChannel = 511
	// maxAlerts is how many messages one body may have.
	maxAlerts = 16
	maxDepth  = 32
	maxTokens = 8192
	maxType   = 64 // bytes of an event type
)

// ErrUnreadable is returned for what is not a message about an event.
var ErrUnreadable = errors.New("not a notification of an event")

// ErrTooLarge is returned for a body without a message in its first MaxBody bytes, and for
// a part that is longer than parts may be.
var ErrTooLarge = errors.New("too large")

// Read reads a body: one message, or a multipart body of several and other things, such as
// pictures, which are skipped. Beats are left out. What follows a message is not needed:
// if it cannot be read, or is too much, the message counts all the same. The error is
// ErrUnreadable, with that of the body if there was one, or ErrTooLarge.
func Read(contentType string, body io.Reader) ([]Alert, error) {
	body = http.MaxBytesReader(nil, io.NopCloser(body), MaxBody)
	media, params, err := mime.ParseMediaType(contentType)
	if err == nil && strings.HasPrefix(media, "multipart/") && params["boundary"] != "" {
		return readParts(body, params["boundary"])
	}
	text, err := io.ReadAll(io.LimitReader(body, MaxPart+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	a, ok, err := One(text)
	if err != nil || !ok {
		return nil, err
	}
	return []Alert{a}, nil
}

func readParts(body io.Reader, boundary string) (list []Alert, err error) {
	r, some := NewReader(body, boundary), false
	r.maxBinary = MaxBody
	var end error
	for range maxAlerts {
		var part []byte
		if part, end = r.Next(); end != nil {
			break
		}
		a, ok, err := One(part)
		if err != nil {
			continue // a part of another kind
		}
		if some = true; ok {
			list = append(list, a)
		}
	}
	var over *http.MaxBytesError
	switch {
	case some:
		return list, nil
	case errors.As(end, &over), errors.Is(end, ErrTooLarge):
		return nil, fmt.Errorf("the body is %w", ErrTooLarge)
	}
	return nil, errors.Join(fmt.Errorf("%w: no part is one", ErrUnreadable), end)
}

// One reads one message, XML or JSON, whatever its content type says. ok is false for one
// that only says that the camera is there.
func One(text []byte) (a Alert, ok bool, err error) {
	if len(text) > MaxPart {
		return Alert{}, false, fmt.Errorf("%w: it is too large", ErrUnreadable)
	}
	text = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(text), []byte("\xef\xbb\xbf")))
	fields := map[string]string{}
	switch {
	case len(text) > 0 && text[0] == '<':
		err = xmlFields(text, fields)
	case len(text) > 0 && text[0] == '{':
		err = jsonFields(text, fields)
	default:
		err = errors.New("neither XML nor JSON")
	}
	if err != nil {
		return Alert{}, false, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return of(fields)
}

// of makes an alert of the fields of a message.
func of(fields map[string]string) (a Alert, ok bool, err error) {
	kind := fields["eventtype"]
	if kind == "" {
		return Alert{}, false, fmt.Errorf("%w: it has no event type", ErrUnreadable)
	}
	if len(kind) > maxType {
		kind = kind[:maxType]
	}
	a = Alert{Kind: KindOf(kind), Type: strings.ToLower(kind), Active: !strings.EqualFold(fields["eventstate"], "inactive")}
	if heartbeat(kind, a.Active) {
		return Alert{}, false, nil
	}
	a.Channel = channelOf(cmp.Or(fields["channelid"], fields["dynchannelid"])) // the latter is a linked camera's of a recorder
	if at, zoned, ok := TimeOf(fields["datetime"]); ok {
		a.At, a.Unzoned = at, !zoned
	}
	return a, true, nil
}

// channelOf returns 0 for a number that is none.
func channelOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > MaxChannel {
		return 0
	}
	return n
}

// root is the element of a message, by its local name: namespaces vary.
const root = "EventNotificationAlert"

// xmlFields reads the texts of the root's own children; the first of a name counts.
func xmlFields(text []byte, into map[string]string) error {
	d := xml.NewDecoder(bytes.NewReader(bytes.ToValidUTF8(text, []byte("?"))))
	d.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	depth, name := 0, ""
	for range maxTokens {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return errors.New("it is nested too deeply")
			}
			if depth == 1 && t.Name.Local != root {
				return errors.New("it is another document")
			}
			if name = ""; depth == 2 {
				name = t.Name.Local
			}
		case xml.EndElement:
			depth--
			name = ""
		case xml.CharData:
			if name != "" && depth == 2 {
				keep(into, name, string(t))
			}
		case xml.Directive:
			return errors.New("it has a document type")
		}
	}
	return errors.New("it is too long")
}

// jsonFields reads the fields of an object, or of the object in its field
// EventNotificationAlert.
func jsonFields(text []byte, into map[string]string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return errors.New("invalid JSON")
	}
	if inner, ok := object[root]; ok {
		object = nil
		if err := json.Unmarshal(inner, &object); err != nil {
			return errors.New("invalid JSON")
		}
	}
	for name, raw := range object {
		var s string
		var n json.Number
		switch {
		case json.Unmarshal(raw, &s) == nil:
			keep(into, name, s)
		case json.Unmarshal(raw, &n) == nil:
			keep(into, name, n.String())
		}
	}
	return nil
}

// keep keeps a field that is used, by its name in lower case.
func keep(into map[string]string, name, value string) {
	name, value = strings.ToLower(name), strings.TrimSpace(value)
	switch name {
	case "eventtype", "eventstate", "channelid", "dynchannelid", "datetime":
		if into[name] == "" && len(value) <= 256 {
			into[name] = value
		}
	}
}
