package app

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"time"

	"latchkey/domain/privilege"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// TestInvitingTellsNothing: an invitation of a registered address is the same work and
// has the same answer as one of an address that nobody has.
func TestInvitingTellsNothing(t *testing.T) {
	for name, addresses := range map[string][2]NewShare{
		"e-mail":                {{Email: "bob@example.com"}, {Email: "nobody@example.com"}},
		"internationalised one": {{Email: "bjørn@bücher.example"}, {Email: "nobødy@bücher.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.accounts.Register(ctx, Meta{}, Registration{Email: "bjørn@bücher.example", Password: password, Name: "Bjørn"}); err != nil {
				t.Fatal(err)
			}
			var calls [2]int
			var answers [2]ShareSaved
			for i, n := range addresses {
				n.Devices = []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}
				w.log.calls = 0
				r, err := w.shares.Save(ctx, Meta{Account: w.alice}, n)
				if err != nil {
					t.Fatal(err)
				}
				calls[i], answers[i] = w.log.calls, r
			}
			if calls[0] != calls[1] {
				t.Errorf("the log is asked %d times for a registered address, %d times for another", calls[0], calls[1])
			}
			a, b := answers[0], answers[1]
			if a.Created != b.Created || a.Revision != b.Revision || len(a.Share.Devices) != len(b.Share.Devices) || a.Share.Devices[0].Status != b.Share.Devices[0].Status || a.Share.Devices[0].Account != b.Share.Devices[0].Account {
				t.Errorf("%+v and %+v", a, b)
			}
		})
	}
}

// TestInvitationsAreLimited: each device that is offered counts, a retry not again, and
// taking back never.
func TestInvitationsAreLimited(t *testing.T) {
	w := newWorld(t)
	quotas := &counting{most: 3}
	w.shares.core.quotas = quotas
	id := w.share(gives(w.cam, 1, privilege.LiveView), gives(w.dvr, 1, privilege.LiveView))
	if _, err := w.shares.RemoveDevice(ctx, Meta{Account: w.alice}, id, w.cam); err != nil {
		t.Fatal(err)
	}
	if _, err := w.shares.PutDevice(ctx, Meta{Account: w.alice}, id, gives(w.dvr, 1, privilege.None)); err != nil {
		t.Fatal(err)
	}
	if quotas.used != 2 {
		t.Errorf("%d invitations were counted, want 2", quotas.used)
	}
	again := false
	w.atOnce(func(other *server) {
		again = true
		if _, err := other.shares.Reject(ctx, Meta{Account: w.bob}, id, w.dvr); err != nil {
			t.Error(err)
		}
	})
	if _, err := w.shares.PutDevice(ctx, Meta{Account: w.alice}, id, gives(w.cam, 1, privilege.LiveView)); err != nil || !again || quotas.used != 3 {
		t.Fatalf("%d invitations were counted, %v; want 3", quotas.used, err)
	}
	_, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: "carol@example.com", Devices: []DeviceGrants{gives(w.cam, 1, privilege.LiveView)}})
	wantCode(t, err, TooSoon, "quota_exceeded")
	if e, ok := errors.AsType[*Error](err); !ok || e.Quota != QuotaInvitations {
		t.Errorf("refused by %+v", err)
	}
	if e, ok := errors.AsType[*Error](refused(share.ErrTooManyDevices)); !ok || e.Quota != QuotaOfShare {
		t.Errorf("too many devices: %+v", e)
	}
}

// counting is a Quotas that counts invitations, and limits nothing else.
// counting counts one quota, QuotaInvitations by default.
type counting struct {
	most, used int
	quota      string
}

func (c *counting) Most(string) int { return 1 << 20 }

func (c *counting) Hold(context.Context, string, string) (func(position.Position), error) {
	return func(position.Position) {}, nil
}

func (c *counting) Freed(string, string, position.Position) {}

func (c *counting) Spend(_, quota, _ string, n int) error {
	if quota != cmp.Or(c.quota, QuotaInvitations) {
		return nil
	}
	if c.used+n > c.most {
		return &Exceeded{Quota: quota, Most: c.most, RetryAfter: time.Minute}
	}
	c.used += n
	return nil
}
