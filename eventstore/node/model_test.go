package node

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// model is the log as simply as it can be said.
type model struct {
	all     []modelEvent
	streams map[string]*modelStream
}

type modelEvent struct {
	stream   string
	revision uint64
	id       string // empty: the node's own
	meta     *modelMeta
}

type modelStream struct {
	positions  []int // in all, by revision
	tombstoned bool
}

type modelMeta struct {
	MaxCount int64  `json:"$maxCount,omitempty"`
	Before   *int64 `json:"$tb,omitempty"`
	Owner    string `json:"owner,omitempty"`
}

func (m *model) stream(name string) *modelStream {
	if m.streams[name] == nil {
		m.streams[name] = &modelStream{}
	}
	return m.streams[name]
}

func (m *model) put(e modelEvent) {
	s := m.stream(e.stream)
	if e.revision = uint64(len(s.positions)); s.tombstoned {
		e.revision = math.MaxInt64
	}
	m.all = append(m.all, e)
	s.positions = append(s.positions, len(m.all))
}

func (m *model) metaOf(name string) modelMeta {
	if s := m.stream("$$" + name); len(s.positions) > 0 {
		return *m.all[s.positions[len(s.positions)-1]-1].meta
	}
	return modelMeta{}
}

func (m *model) deleted(name string) bool {
	before := m.metaOf(name).Before
	return before != nil && *before == math.MaxInt64
}

func (m *model) setBefore(name string, before int64, keep modelMeta) {
	keep.Before = &before
	m.put(modelEvent{stream: "$$" + name, meta: &keep})
}

func (m *model) idAt(name string, revision int) string {
	return m.all[m.stream(name).positions[revision]-1].id
}

const modelOK = esdb.ErrorCode(-1)

// append answers the code of the refusal, and where the last event stands.
func (m *model) append(name string, expected int64, ids []string) (refusal esdb.ErrorCode, revision uint64, position int) {
	const wrong, gone = esdb.ErrorCodeWrongExpectedVersion, esdb.ErrorCodeStreamDeleted
	s := m.stream(name)
	last := int64(len(s.positions)) - 1
	if s.tombstoned || expected == int64(expectExists) && m.deleted(name) {
		return gone, 0, 0
	}
	if expected == int64(expectExists) && last < 0 && len(m.stream("$$"+name).positions) == 0 {
		return wrong, 0, 0
	}
	if len(ids) > 0 && (expected < -1 || expected < last) { // may be a repetition
		at, known := -1, 0
		for i, id := range ids {
			found := -1
			if want := int(expected) + 1 + i; expected >= -1 {
				if want < len(s.positions) && m.idAt(name, want) == id {
					found = want
				}
			} else {
				for r := range s.positions {
					if m.idAt(name, r) == id {
						found = r // the last that has it
					}
				}
			}
			if found < 0 {
				break
			}
			at, known = found, known+1
		}
		if known == len(ids) {
			return modelOK, uint64(at), s.positions[at]
		}
		if known > 0 {
			return wrong, 0, 0
		}
	}
	if expected >= -1 && expected != last && (expected != -1 || !m.deleted(name)) {
		return wrong, 0, 0
	}
	revive := m.deleted(name)
	for _, id := range ids {
		m.put(modelEvent{stream: name, id: id})
	}
	revision, position = uint64(len(s.positions)-1), len(m.all)
	if revive {
		m.setBefore(name, last+1, m.metaOf(name))
	}
	return modelOK, revision, position
}

func (m *model) setMeta(name string, meta modelMeta) esdb.ErrorCode {
	if m.stream(name).tombstoned {
		return esdb.ErrorCodeStreamDeleted
	}
	revive := m.deleted(name)
	m.put(modelEvent{stream: "$$" + name, meta: &meta})
	if revive {
		m.setBefore(name, int64(len(m.stream(name).positions)), meta)
	}
	return modelOK
}

// end deletes or tombstones; it reports whether it was done.
func (m *model) end(name string, expected int64, tombstone bool) bool {
	s := m.stream(name)
	last := int64(len(s.positions)) - 1
	known := last >= 0 || len(m.stream("$$"+name).positions) > 0
	switch {
	case s.tombstoned, expected == int64(expectExists) && (m.deleted(name) || !known):
		return false
	case expected >= -1 && expected != last && (expected != -1 || !m.deleted(name)):
		return false
	}
	if tombstone {
		s.tombstoned = true
		m.put(modelEvent{stream: name})
		return true
	}
	if !known {
		return false
	}
	m.setBefore(name, math.MaxInt64, modelMeta{})
	return true
}

// read is what a whole read of a stream gives.
func (m *model) read(name string) string {
	s := m.stream(name)
	about := strings.TrimPrefix(name, "$$")
	switch {
	case m.stream(about).tombstoned:
		return "deleted"
	case len(s.positions) == 0, about == name && m.deleted(name):
		return "not found"
	}
	meta := modelMeta{MaxCount: 1}
	if about == name {
		meta = m.metaOf(name)
	}
	var out []string
	for r := range s.positions {
		if meta.Before != nil && int64(r) < *meta.Before || meta.MaxCount > 0 && int64(r) < int64(len(s.positions))-meta.MaxCount {
			continue
		}
		out = append(out, itoa(uint64(r)))
	}
	return strings.Join(out, " ")
}

func toExpected(n int64) esdb.ExpectedRevision {
	switch expectation(n) {
	case expectAny:
		return esdb.Any{}
	case expectExists:
		return esdb.StreamExists{}
	case expectNoStream:
		return esdb.NoStream{}
	}
	return esdb.Revision(uint64(n))
}

// The node answers as the model does, whatever it is asked, and also after it
// was closed and opened again.
func TestTheNodeIsTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewMem()
		f := start(t, Config{FS: fs})
		defer func() { f.stop() }()
		m := &model{streams: map[string]*modelStream{}}
		names := rapid.SampledFrom([]string{"a", "b", "c"})
		expected := rapid.SampledFrom([]int64{-1, -2, -2, -2, -4, 0, 1, 2, 3})
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				name, want := names.Draw(rt, "stream"), expected.Draw(rt, "expected")
				ids := rapid.SliceOfN(rapid.SampledFrom(strings.Split("0123456789", "")), 0, 3).Draw(rt, "ids")
				r, err := f.try(name, toExpected(want), ids...)
				refusal, revision, position := m.append(name, want, ids)
				if code(err) != refusal {
					rt.Fatalf("the node says %v, the model %d", err, refusal)
				}
				if err == nil && len(ids) > 0 && (r.NextExpectedVersion != revision || r.CommitPosition != uint64(position)) {
					rt.Fatalf("the node says %+v, the model revision %d, position %d", r, revision, position)
				}
			},
			"metadata": func(rt *rapid.T) {
				name := names.Draw(rt, "stream")
				meta := modelMeta{MaxCount: rapid.Int64Range(0, 3).Draw(rt, "max count"), Owner: rapid.StringN(0, 3, -1).Draw(rt, "owner")}
				if rapid.Bool().Draw(rt, "truncate") {
					before := rapid.SampledFrom([]int64{0, 1, 2, 5, math.MaxInt64}).Draw(rt, "before")
					meta.Before = &before
				}
				data, err := json.Marshal(meta)
				if err != nil {
					rt.Fatal(err)
				}
				e := esdb.EventData{EventID: id(rapid.StringMatching(`[0-9a-f]{16}`).Draw(rt, "id")), EventType: "$metadata", ContentType: esdb.ContentTypeJson, Data: data}
				_, err = f.client.AppendToStream(f.ctx, "$$"+name, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, e)
				if want := m.setMeta(name, meta); code(err) != want {
					rt.Fatalf("the node says %v, the model %d", err, want)
				}
			},
			"delete": func(rt *rapid.T) {
				name, want := names.Draw(rt, "stream"), expected.Draw(rt, "expected")
				_, err := f.client.DeleteStream(f.ctx, name, esdb.DeleteStreamOptions{ExpectedRevision: toExpected(want)})
				if done := m.end(name, want, false); done != (err == nil) {
					rt.Fatalf("the node says %v, the model did it: %t", err, done)
				}
			},
			"tombstone": func(rt *rapid.T) {
				if rapid.IntRange(0, 5).Draw(rt, "rarely") > 0 {
					rt.Skip()
				}
				name, want := names.Draw(rt, "stream"), expected.Draw(rt, "expected")
				_, err := f.client.TombstoneStream(f.ctx, name, esdb.TombstoneStreamOptions{ExpectedRevision: toExpected(want)})
				if done := m.end(name, want, true); done != (err == nil) {
					rt.Fatalf("the node says %v, the model did it: %t", err, done)
				}
			},
			"restart": func(rt *rapid.T) {
				f.stop()
				f = start(t, Config{FS: fs})
			},
			"": func(rt *rapid.T) { compare(rt, f, m) },
		})
	})
}

func compare(rt *rapid.T, f *fixture, m *model) {
	about := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "compared")
	for _, name := range []string{about, "$$" + about} {
		if got, want := f.revisions(name), m.read(name); got != want {
			rt.Fatalf("stream %s has %q, the model %q", name, got, want)
		}
	}
	all := f.readAll(esdb.ReadAllOptions{From: esdb.Start{}}, many)
	if len(all) != len(m.all) {
		rt.Fatalf("$all has %d events, the model %d", len(all), len(m.all))
	}
	for i, e := range all {
		want := m.all[i]
		same := e.Event.StreamID == want.stream && e.Event.EventNumber == want.revision && e.Event.Position.Commit == uint64(i+1)
		if want.id != "" {
			same = same && e.Event.EventID == id(want.id)
		}
		if want.meta != nil {
			var got modelMeta
			err := json.Unmarshal(e.Event.Data, &got)
			same = same && err == nil && fmt.Sprint(got.MaxCount, got.Owner, deref(got.Before)) == fmt.Sprint(want.meta.MaxCount, want.meta.Owner, deref(want.meta.Before))
		}
		if !same {
			rt.Fatalf("$all has %+v at %d, the model %+v", e.Event, i+1, want)
		}
	}
}

func deref(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}
