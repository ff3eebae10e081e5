package projections_test

import (
	"context"
	"errors"
	"testing"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/eventstore"
	"latchkey/projections"
)

// rendered is what somebody keeps of a list.
type rendered struct {
	account string
	seen    projections.Seen
}

func keep(t *testing.T, h *house, r *projections.Runner, account string, query func(context.Context, string, projections.Page) ([]projections.Share, string, error)) (k rendered) {
	t.Helper()
	k.account = account
	must(t, r.Read(within(t), 0, func(atLeast eventstore.Position) error {
		_, _, err := query(within(t), account, projections.Page{Limit: 50, AtLeast: atLeast, Seen: &k.seen})
		return err
	}))
	if !k.seen.Known() {
		t.Fatal("the query does not tell what its read models have seen")
	}
	return k
}

// wantKept checks whether what is kept is right when the read models have seen a position.
func (k rendered) wantKept(t *testing.T, r *projections.Runner, at eventstore.Position, want bool, when string) {
	t.Helper()
	for _, name := range projections.Names() { // else it is not known
		must(t, r.Covered(within(t), name, at))
	}
	var same bool
	must(t, r.Read(within(t), at, func(atLeast eventstore.Position) (err error) {
		same, err = r.Unchanged(within(t), k.seen, k.account, atLeast)
		return err
	}))
	if same != want {
		t.Errorf("%s: unchanged is %v, want %v", when, same, want)
	}
}

// TestWhatIsKeptOfAListIsRightOrKnownToBeWrong: a list is unchanged until an event may
// concern it, whichever process wrote that, and whatever happens to the tables.
func TestWhatIsKeptOfAListIsRightOrKnownToBeWrong(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		ritas := rita + "." + login
		h.append("device-cam", added(olga, "cam", channel(1)))
		at := h.append("share-"+given, opened(), invited("cam", privilege.LiveView))
		other := h.open() // another process, which writes in turns with this one
		r, _ := h.run(h.store)
		second, stopSecond := h.run(other)
		wait(t, r, at)
		wait(t, second, at)

		sent := keep(t, h, r, olga, h.store.SentShares)
		sentThere := keep(t, h, second, olga, other.SentShares)
		received := keep(t, h, r, rita, h.store.ReceivedShares)
		sent.wantKept(t, r, at, true, "at once")
		received.wantKept(t, r, at, true, "at once")

		at = h.append("share-"+ritas, share.Opened{Share: ritas, Owner: rita, Login: login, Kind: "email", Recipient: "login:address", At: epoch})
		sent.wantKept(t, r, at, true, "after somebody else shared")
		sentThere.wantKept(t, second, at, true, "after somebody else shared, in the other process")
		received.wantKept(t, r, at, false, "after something was shared")

		received = keep(t, h, r, rita, h.store.ReceivedShares)
		received.wantKept(t, r, at, true, "when it was made again")
		at = h.append("share-"+given, share.RemarkChanged{Share: given, Owner: olga, Remark: "login:other", At: epoch})
		sent.wantKept(t, r, at, false, "after a change")
		sentThere.wantKept(t, second, at, false, "after a change, in the other process")

		sent = keep(t, h, r, olga, h.store.SentShares)
		must(t, h.store.Rebuild(within(t), projections.SentShares, h.client, nil))
		sent.wantKept(t, r, at, false, "after the read model was made anew")

		sent = keep(t, h, r, olga, h.store.SentShares)
		sentThere = keep(t, h, second, olga, other.SentShares)
		stopSecond()
		at = h.append("device-cam", added(rita, "cam2", channel(1)))
		sent.wantKept(t, r, at, false, "after a device was added, whose name may be in it")
		if same, err := second.Unchanged(within(t), sentThere.seen, olga, at); err != nil || same {
			t.Errorf("a process that no longer reads the log says unchanged %v, %v", same, err)
		}
	})
}

// TestWhatIsKeptIsNotOlderThanItMustBe: before the position is reached nothing is proven.
func TestWhatIsKeptIsNotOlderThanItMustBe(t *testing.T) {
	onEach(t, func(t *testing.T, h *house) {
		at := h.append("share-"+given, opened())
		r, stop := h.run(h.store)
		wait(t, r, at)
		sent := keep(t, h, r, olga, h.store.SentShares)
		stop()
		at = h.append("share-"+given, share.RemarkChanged{Share: given, Owner: olga, Remark: "login:other", At: epoch})
		if same, err := r.Unchanged(within(t), sent.seen, olga, at); same || !errors.Is(err, projections.ErrBehind) {
			t.Errorf("a read model that lacks the position is unchanged: %v, %v", same, err)
		}
	})
}
