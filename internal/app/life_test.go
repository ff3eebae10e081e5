package app

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
)

// TestAShareBeginsAnew: a command on a share that was deleted and opened again reads
// nothing of its earlier lives, and finds the same state.
func TestAShareBeginsAnew(t *testing.T) {
	w := newWorld(t)
	var id string
	for life := range 20 {
		r, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "bob@example.com", Remark: fmt.Sprint("life ", life), Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
		if err != nil {
			t.Fatal(err)
		}
		id = r.Share.ID
		if life < 19 {
			if _, err := w.shares.Delete(ctx, Meta{Account: w.alice}, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	whole, err := w.log.Load(ctx, shareStream(id), 0)
	if err != nil {
		t.Fatal(err)
	}
	want, err := fold(share.State{}, whole, share.Evolve)
	if err != nil {
		t.Fatal(err)
	}
	w.log.reads = 0
	there, err := w.node().loadShare(ctx, id) // nothing is known to it
	if err != nil {
		t.Fatal(err)
	}
	if w.log.reads != 2 || len(there.events) != 2 {
		t.Errorf("%d events were read and %d kept, want the 2 of the last life of %d", w.log.reads, len(there.events), len(whole))
	}
	if !reflect.DeepEqual(there.state, want) || there.revision() != int64(len(whole)-1) {
		t.Errorf("the state is %+v at %d, want %+v at %d", there.state, there.revision(), want, len(whole)-1)
	}
}

// TestARepeatFindsAnEarlierLife: a command with an idempotency key is not carried out
// again because the share was deleted and opened meanwhile.
func TestARepeatFindsAnEarlierLife(t *testing.T) {
	w := newWorld(t)
	m := Meta{Account: w.alice, IdempotencyKey: "once"}
	n := NewShare{Email: "bob@example.com", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}}
	first, err := w.shares.Save(ctx, m, n)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.shares.Delete(ctx, Meta{Account: w.alice}, first.Share.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "bob@example.com"}); err != nil {
		t.Fatal(err)
	}
	before := len(w.log.streams[shareStream(first.Share.ID)])
	again, err := w.shares.Save(ctx, m, n)
	if err != nil || again.Position != first.Position || again.Revision != first.Revision {
		t.Errorf("the repeat is answered %+v, %v, want as the first time: %+v", again, err, first)
	}
	if now := len(w.log.streams[shareStream(first.Share.ID)]); now != before {
		t.Errorf("the repeat wrote %d events", now-before)
	}
}

// TestAShareThatIsTooLong: a life that grew too large takes only what takes away, and
// ends.
func TestAShareThatIsTooLong(t *testing.T) {
	w := newWorld(t)
	save := func(remark string) (ShareSaved, error) {
		return w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "bob@example.com", Remark: remark, Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
	}
	r, err := save("")
	if err != nil {
		t.Fatal(err)
	}
	stream := shareStream(r.Share.ID)
	events := w.log.streams[stream]
	events[0].Metadata = []byte(`{"account":"` + strings.Repeat("x", maxHistory) + `"}`)
	_, err = w.shares.Replace(ctx, Meta{Account: w.alice}, r.Share.ID, "another remark", nil, []DeviceGrants{gives(w.cam, 1, privilege.LiveView)})
	wantCode(t, err, Invalid, "share_too_long")
	if _, err := w.shares.Delete(ctx, Meta{Account: w.alice}, r.Share.ID); err != nil {
		t.Errorf("it cannot be deleted: %v", err)
	}
	if _, err := save("again"); err != nil {
		t.Errorf("it cannot be opened anew: %v", err)
	}
}
