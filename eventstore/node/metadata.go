package node

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// deletedStream is the value of $tb that marks a stream as deleted, and the
// revision of a tombstone.
const deletedStream = math.MaxInt64

const (
	metadataPrefix = "$$"
	typeMetadata   = "$metadata"
	typeTombstone  = "$streamDeleted"
	typeLink       = "$>"
	contentJSON    = "application/json"
	contentBinary  = "application/octet-stream"
)

// streamMeta is the part of a stream's metadata that reads obey. The zero value is a
// stream without metadata.
type streamMeta struct {
	maxCount       uint64        // 0: no limit
	maxAge         time.Duration // 0: no limit
	truncateBefore uint64        // revisions below it are gone
}

func (m streamMeta) deleted() bool { return m.truncateBefore == deletedStream }

// metadataOf returns the name of the stream that holds a stream's metadata.
func metadataOf(name string) string { return metadataPrefix + name }

func isMetadata(name string) bool { return strings.HasPrefix(name, metadataPrefix) }

// parseMeta reads the data of a metadata event. Like the real server it takes all of it
// or nothing: metadata is arbitrary JSON, and if it is not understood it has no effect.
func parseMeta(contentType string, data []byte) streamMeta {
	var raw map[string]json.RawMessage // its names, unlike those of a struct, are case-sensitive
	if contentType != contentJSON || json.Unmarshal(data, &raw) != nil {
		return streamMeta{}
	}
	count, ok1 := wholeNumber(raw, "$maxCount")
	age, ok2 := wholeNumber(raw, "$maxAge")
	before, ok3 := wholeNumber(raw, "$tb")
	if _, ok4 := wholeNumber(raw, "$cacheControl"); !ok1 || !ok2 || !ok3 || !ok4 {
		return streamMeta{}
	}
	var m streamMeta
	m.maxCount = uint64(max(count, 0))
	m.truncateBefore = uint64(max(before, 0))
	if age > 0 && age <= int64(math.MaxInt64/time.Second) { // nothing is older than that
		m.maxAge = time.Duration(age) * time.Second
	}
	return m
}

// wholeNumber returns a property of an object, 0 if missing, and false if it is not an
// integer.
func wholeNumber(raw map[string]json.RawMessage, name string) (int64, bool) {
	text, ok := raw[name]
	if !ok {
		return 0, true
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	return n, err == nil
}

// withTruncateBefore returns the metadata with another $tb, all else unchanged. It
// returns false if the data is not a JSON object. No data is an empty object.
func withTruncateBefore(data []byte, before uint64) ([]byte, bool) {
	all := map[string]json.RawMessage{}
	if len(data) > 0 && (json.Unmarshal(data, &all) != nil || all == nil) {
		return nil, false
	}
	all["$tb"] = strconv.AppendUint(nil, before, 10)
	data, err := json.Marshal(all)
	return data, err == nil
}

// first returns the first readable revision of a stream, by $tb and $maxCount. last is
// the stream's last revision.
func (m streamMeta) first(last uint64) uint64 {
	first := m.truncateBefore
	if m.maxCount > 0 && last+1 > m.maxCount {
		first = max(first, last+1-m.maxCount)
	}
	return first
}

// expired reports whether an event is too old by $maxAge. Created is in ticks of
// 100 ns since the Unix epoch.
func (m streamMeta) expired(created int64, now time.Time) bool {
	return m.maxAge > 0 && ticks(now)-created > int64(m.maxAge/100)
}

func ticks(t time.Time) int64 { return t.UnixNano() / 100 }

// tooOld reports whether $maxAge hides an event.
func tooOld(m streamMeta, e stored, now time.Time) (bool, error) {
	if m.maxAge == 0 {
		return false, nil
	}
	parsed, err := parseRecord(e.record)
	if err != nil {
		return false, err
	}
	return m.expired(parsed.created, now), nil
}
