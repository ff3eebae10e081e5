package node

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/protobuf/proto"
)

// What is stored is what the client's own stubs read, and what is taken apart is
// what was put together. Damaged records are told, never a panic.
func FuzzRecord(f *testing.F) {
	f.Add("s", "noted", []byte(`{"a":1}`), []byte("m"), uint64(3), uint64(9), int64(17_000_000_000_000_000), []byte{8, 1, 2})
	f.Add("", "", []byte(nil), []byte(nil), uint64(0), uint64(1), int64(0), []byte(nil))
	f.Add("$$s", "$metadata", bytes.Repeat([]byte("x"), 300), []byte(nil), uint64(math.MaxInt64), uint64(1)<<40, int64(-5), []byte{0x32, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, stream, kind string, data, custom []byte, revision, position uint64, created int64, damage []byte) {
		kind = strings.ToValidUTF8(kind, "?")
		in := event{id: newID(), stream: []byte(stream), revision: revision, position: position, kind: []byte(kind),
			contentType: []byte(contentJSON), created: created, custom: custom, data: data}
		record := appendRecord(nil, &in)
		out, err := parseRecord(record)
		if err != nil {
			t.Fatal(err)
		}
		if out.id != in.id || string(out.stream) != stream || out.revision != revision || out.position != position || string(out.kind) != kind ||
			string(out.contentType) != contentJSON || out.created != created || !bytes.Equal(out.custom, custom) || !bytes.Equal(out.data, data) {
			t.Fatalf("put %+v, got %+v", in, out)
		}
		var m streams.ReadResp_ReadEvent_RecordedEvent
		if err := proto.Unmarshal(record, &m); err != nil {
			t.Fatal(err)
		}
		if string(m.GetStreamIdentifier().GetStreamName()) != stream || m.GetStreamRevision() != revision || m.GetCommitPosition() != position ||
			m.GetPreparePosition() != position || m.GetMetadata()["type"] != kind || !bytes.Equal(m.GetData(), data) || !bytes.Equal(m.GetCustomMetadata(), custom) {
			t.Fatalf("put %+v, the client reads %v", in, &m)
		}
		for i := range damage {
			record[int(damage[i])%len(record)] ^= damage[i] | 1
		}
		_, _ = parseRecord(record)
		_, _ = parseRecord(damage)
		_, _ = parseRecord(record[:len(record)/2])
	})
}

// A frame is the message that the stubs would send.
func FuzzFrame(f *testing.F) {
	f.Add("s", []byte("data"), true, true, uint64(5))
	f.Add("", []byte(nil), false, true, uint64(0))
	f.Add("s", []byte(nil), true, false, uint64(math.MaxUint64))
	f.Fuzz(func(t *testing.T, stream string, data []byte, resolved, linked bool, position uint64) {
		var record, link []byte
		if resolved || !linked {
			record = appendRecord(nil, &event{stream: []byte(stream), data: data})
		}
		if linked {
			link = appendRecord(nil, &event{stream: []byte("l"), kind: []byte(typeLink)})
		}
		var wire []byte
		for _, part := range eventFrame(record, link, position) {
			wire = append(wire, part.ReadOnlyData()...)
		}
		var m streams.ReadResp
		if err := proto.Unmarshal(wire, &m); err != nil {
			t.Fatal(err)
		}
		e := m.GetEvent()
		if e == nil || e.GetCommitPosition() != position || (e.GetEvent() != nil) != (record != nil) || (e.GetLink() != nil) != linked {
			t.Fatalf("the client reads %v", &m)
		}
		if record != nil && !bytes.Equal(e.GetEvent().GetData(), data) {
			t.Fatalf("the client reads the data %x, sent %x", e.GetEvent().GetData(), data)
		}
	})
}

// Anybody's JSON bounds reads sensibly or not at all, and a deletion taken back
// keeps all but $tb.
func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{``, `{}`, `null`, `[]`, `{"$maxCount":5,"$maxAge":60,"$tb":3,"x":[1,{"$tb":4}]}`, `{"$tb":9223372036854775807}`, `{"$tb":1e3}`, `{"$maxAge":99999999999999999999}`, `{"$tb":"3"}`} {
		f.Add([]byte(seed), uint64(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, last uint64) {
		last %= math.MaxInt64
		m := parseMeta(contentJSON, data)
		if m.maxCount > math.MaxInt64 || m.truncateBefore > math.MaxInt64 || m.maxAge < 0 {
			t.Fatalf("%s is %+v", data, m)
		}
		if parseMeta(contentBinary, data) != (streamMeta{}) {
			t.Fatalf("%s counts though it is no JSON", data)
		}
		if first := m.first(last); first > max(last, m.truncateBefore) {
			t.Fatalf("of revisions up to %d the first is %d", last, first)
		}
		m.expired(0, time.Unix(0, 0))
		changed, ok := withTruncateBefore(data, last)
		if !ok {
			return
		}
		var before, after map[string]json.RawMessage
		if len(data) > 0 {
			if err := json.Unmarshal(data, &before); err != nil {
				t.Fatal(err)
			}
		}
		if err := json.Unmarshal(changed, &after); err != nil {
			t.Fatal(err)
		}
		if _, had := before["$tb"]; !had {
			delete(after, "$tb")
		}
		if len(after) != len(before) {
			t.Fatalf("%s became %s", data, changed)
		}
	})
}

// A filter takes what the same question put plainly takes.
func FuzzFilter(f *testing.F) {
	f.Add("^a|b$", "pre", "stream-1", "type", true, uint32(3), uint32(2))
	f.Add("", "", "", "", false, uint32(0), uint32(0))
	f.Add("(a*)*$", "x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "t", true, uint32(1), uint32(math.MaxUint32))
	f.Fuzz(func(t *testing.T, regex, prefix, stream, kind string, byStream bool, window, multiplier uint32) {
		x := &streams.ReadReq_Options_FilterOptions_Expression{Regex: regex, Prefix: []string{"never\x00", prefix}}
		o := &streams.ReadReq_Options_FilterOptions{CheckpointIntervalMultiplier: multiplier,
			Window: &streams.ReadReq_Options_FilterOptions_Max{Max: window}, Filter: &streams.ReadReq_Options_FilterOptions_EventType{EventType: x}}
		text := kind
		if byStream {
			o.Filter, text = &streams.ReadReq_Options_FilterOptions_StreamIdentifier{StreamIdentifier: x}, stream
		}
		filter, err := newFilter(o)
		if err != nil {
			return
		}
		if filter.interval == 0 || filter.interval > maxCheckpoints {
			t.Fatalf("an interval of %d", filter.interval)
		}
		want := strings.HasPrefix(text, prefix) || strings.HasPrefix(text, "never\x00")
		if regex != "" {
			want = regexp.MustCompile(regex).MatchString(text)
		}
		if got := filter.match(&event{stream: []byte(stream), kind: []byte(kind)}); got != want {
			t.Fatalf("regex %q, prefix %q take %q: %t", regex, prefix, text, got)
		}
	})
}
