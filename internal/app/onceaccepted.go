package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"latchkey/domain/account"
	"latchkey/domain/share"
	"latchkey/internal/position"
)

// An account accepts a device by one share at a time, also if the owner has shared it with
// several of its addresses: privileges are those of an account on a device, and the last
// event of two shares would set them for both.

// acceptedElsewhere returns another share in which an account has accepted the device of an
// owner, "" for none. Only the owner's shares with its other addresses can be one.
func (s *core) acceptedElsewhere(ctx context.Context, owner, id, login, device string) (string, error) {
	there, err := load(ctx, s, accountKind, accountStream(id))
	if err != nil {
		return "", err
	}
	return s.elsewhere(ctx, owner, there.state, login, device)
}

func (s *core) elsewhere(ctx context.Context, owner string, account account.State, login, device string) (string, error) {
	for _, address := range account.Addresses {
		if address.Login == login {
			continue
		}
		other := share.ID(owner, address.Login)
		of, err := load(ctx, s, shareKind, shareStream(other))
		if err != nil {
			return "", err
		}
		if d, ok := of.state.Find(device); ok && of.state.Live && d.Status == share.StatusAccepted && d.Account == account.Account {
			return other, nil
		}
	}
	return "", nil
}

// refuseElsewhere refuses to accept a device that the account has by another share.
func (s *core) refuseElsewhere(ctx context.Context, id, of, device string) error {
	owner, login, _ := share.Parties(of)
	other, err := s.acceptedElsewhere(ctx, owner, id, login, device)
	if err != nil || other == "" {
		return err
	}
	return alreadyAccepted(other)
}

func alreadyAccepted(other string) error {
	return &Error{
		Code: "already_accepted", Kind: Conflict, Shares: []string{other},
		Message: "You have accepted this device already, by another address of yours. Leave it there first.",
	}
}

// Unlisted is a device that an account has accepted in a share, while its privileges on the
// device are not those of that share.
type Unlisted struct{ Share, Account, Device string }

// EndDoubles makes good what accounts have accepted by two shares, by an earlier version or
// at the same moment in two processes: the device stays in the share by which it was
// accepted first, and in no other. Then the privileges are those of that share.
func (a *Accounts) EndDoubles(ctx context.Context) error {
	if a.holdings == nil {
		return nil
	}
	list, err := a.holdings.Unlisted(ctx, position.Position(0))
	if err != nil {
		return fmt.Errorf("listing devices that were accepted twice: %w", err)
	}
	var failed []error
	for _, u := range list {
		failed = append(failed, a.endDouble(ctx, u))
	}
	return errors.Join(failed...)
}

func (a *Accounts) endDouble(ctx context.Context, u Unlisted) error {
	owner, login, ok := share.Parties(u.Share)
	if !ok {
		return fmt.Errorf("%q is not the id of a share", u.Share)
	}
	keep := u.Share
	other, err := a.core.acceptedElsewhere(ctx, owner, u.Account, login, u.Device)
	if err != nil {
		return err
	}
	if other != "" {
		first, err := a.acceptedFirst(ctx, u.Device, u.Share, other)
		if err != nil {
			return err
		}
		later := u.Share
		if first == u.Share {
			later = other
		}
		if err := a.decide(ctx, later, share.GiveUp{Account: u.Account, Device: u.Device, At: a.core.now()}); err != nil {
			return err
		}
		keep = first
	} else if there, err := load(ctx, a.core, shareKind, shareStream(keep)); err != nil || restated(there.state, u.Device, a.core.now()) {
		return err
	}
	return a.decide(ctx, keep, share.Restate{Account: u.Account, Device: u.Device, At: a.core.now()})
}

// restated reports whether the grants of a device were said not long ago: if privileges do
// not have them then, saying them again does not help.
func restated(s share.State, device string, now time.Time) bool {
	d, ok := s.Find(device)
	return ok && now.Sub(d.EditedAt) < 24*time.Hour
}

func (a *Accounts) acceptedFirst(ctx context.Context, device, one, other string) (string, error) {
	x, err := load(ctx, a.core, shareKind, shareStream(one))
	if err != nil {
		return "", err
	}
	y, err := load(ctx, a.core, shareKind, shareStream(other))
	if err != nil {
		return "", err
	}
	d, _ := x.state.Find(device)
	e, _ := y.state.Find(device)
	if c := d.AnsweredAt.Compare(e.AnsweredAt); c < 0 || c == 0 && one < other {
		return one, nil
	}
	return other, nil
}

func (a *Accounts) decide(ctx context.Context, id string, todo share.Command) error {
	_, err := run(ctx, a.core, a.core.following(uuid.New()), onShare(id), func(there stream[share.State]) ([]share.Event, error) {
		return share.Decide(there.state, todo)
	})
	return err
}
