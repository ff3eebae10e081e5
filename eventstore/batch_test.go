package eventstore_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"latchkey/eventstore"
)

func drawBatch(t *rapid.T) eventstore.Batch {
	b := eventstore.Batch{Position: eventstore.Position(rapid.Uint64().Draw(t, "position"))}
	for range rapid.IntRange(0, 5).Draw(t, "events") {
		bytes := rapid.SliceOfN(rapid.Byte(), 0, 40)
		b.Events = append(b.Events, eventstore.Recorded{
			ID: uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), Stream: rapid.String().Draw(t, "stream"),
			Revision: rapid.Uint64().Draw(t, "revision"), Position: eventstore.Position(rapid.Uint64().Draw(t, "position")),
			Created: time.Unix(rapid.Int64Range(-1e9, 1e10).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
			Type:    rapid.String().Draw(t, "type"), Data: bytes.Draw(t, "data"), Metadata: bytes.Draw(t, "metadata"),
		})
	}
	return b
}

func TestBatchSurvivesItsEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawBatch(t)
		got, err := eventstore.DecodeBatch(eventstore.EncodeBatch(nil, b))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, b) {
			t.Fatalf("got %+v\nwant %+v", got, b)
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add([]byte{})
	f.Add(eventstore.EncodeBatch(nil, eventstore.Batch{Position: 7}))
	f.Add(eventstore.EncodeBatch(nil, eventstore.Batch{Position: 9, Events: []eventstore.Recorded{
		{ID: uuid.UUID{1}, Stream: "s", Type: "t", Position: 9, Data: []byte("{}"), Created: time.Unix(1, 2)}}}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := eventstore.DecodeBatch(payload)
		if err != nil {
			return
		}
		if _, err := eventstore.DecodeBatch(eventstore.EncodeBatch(nil, b)); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}
