package node

import (
	"encoding/json"
	"math"
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
)

// streamMeta are the parts of a stream's metadata that reads obey. The zero
// value is a stream without metadata.
type streamMeta struct {
	maxCount       uint64        // 0: no bound
	maxAge         time.Duration // 0: no bound
	truncateBefore uint64        // revisions below it are gone
}

func (m streamMeta) deleted() bool { return m.truncateBefore == deletedStream }

// metadataOf answers the name of the stream that holds a stream's metadata.
func metadataOf(name string) string { return metadataPrefix + name }

func isMetadata(name string) bool { return strings.HasPrefix(name, metadataPrefix) }

// parseMeta reads the data of a metadata event. What is not understood bounds
// nothing: metadata is anybody's JSON.
func parseMeta(data []byte) streamMeta {
	var raw struct {
		MaxCount *float64     `json:"$maxCount"`
		MaxAge   *float64     `json:"$maxAge"`
		Before   *json.Number `json:"$tb"`
	}
	if json.Unmarshal(data, &raw) != nil {
		return streamMeta{}
	}
	var m streamMeta
	if raw.MaxCount != nil && *raw.MaxCount >= 1 && *raw.MaxCount < deletedStream {
		m.maxCount = uint64(*raw.MaxCount)
	}
	if raw.MaxAge != nil && *raw.MaxAge > 0 && *raw.MaxAge < math.MaxInt64/float64(time.Second) {
		m.maxAge = time.Duration(*raw.MaxAge * float64(time.Second))
	}
	if raw.Before != nil {
		if n, err := raw.Before.Int64(); err == nil && n > 0 {
			m.truncateBefore = uint64(n)
		}
	}
	return m
}

// withTruncateBefore is the metadata with another $tb, all else kept.
func withTruncateBefore(data []byte, before uint64) []byte {
	all := map[string]json.RawMessage{}
	if len(data) > 0 && json.Unmarshal(data, &all) != nil {
		all = map[string]json.RawMessage{} // nobody could read it
	}
	value, err := json.Marshal(before)
	if err == nil {
		all["$tb"] = value
		data, err = json.Marshal(all)
	}
	if err != nil {
		panic("node: encoding stream metadata: " + err.Error()) // numbers and checked JSON always encode
	}
	return data
}

// first is the first revision of a stream that a read may give, by $tb and
// $maxCount. last is the stream's last revision.
func (m streamMeta) first(last uint64) uint64 {
	first := m.truncateBefore
	if m.maxCount > 0 && last+1 > m.maxCount {
		first = max(first, last+1-m.maxCount)
	}
	return first
}

// expired says whether an event is too old by $maxAge. Created is in ticks of
// 100 ns since the Unix epoch.
func (m streamMeta) expired(created int64, now time.Time) bool {
	return m.maxAge > 0 && ticks(now)-created > int64(m.maxAge/100)
}

func ticks(t time.Time) int64 { return t.UnixNano() / 100 }

// tooOld says whether $maxAge hides an event.
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
