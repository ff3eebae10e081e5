package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/event"
	"latchkey/domain/share"
)

// A code is what one person hands another to share with each other: the owner's, which
// offers devices to whoever has it, and the recipient's own, which stands for their
// address. Both are used once.

// The kinds of codes.
const (
	codeOfOwner     = "invitation"
	codeOfRecipient = "recipient"
)

const (
	// DefaultCodeTTL and MaxCodeTTL bound how long the code of an owner is valid.
	DefaultCodeTTL = 24 * time.Hour
	MaxCodeTTL     = 7 * 24 * time.Hour
	// OwnCodeTTL is how long the code of a recipient is valid.
	OwnCodeTTL = 10 * time.Minute
	// MaxCodes is how many codes an account may have that were not used.
	MaxCodes = 100
	// QuotaCodes is the name of that limit.
	QuotaCodes = "invitation_codes"
	minCodeTTL = time.Minute
	maxCode    = 64 // bytes
)

// The refusals of ShareCodes.
var (
	ErrTooManyCodes = errors.New("the account has too many codes")
	ErrOtherCode    = errors.New("the idempotency key made another code before")
)

var (
	errCode      = errors.New("this code is not valid, or not any more")
	errNoAddress = errors.New("your account has no verified address yet")
)

// ShareCodes keeps codes, as keyed hashes, and seals what they are about.
type ShareCodes interface {
	// MakeShareCode makes a code; the same one for the same account and Repeat. Errors:
	// ErrTooManyCodes, ErrOtherCode.
	MakeShareCode(ctx context.Context, n NewShareCode) (made ShareCode, code string, err error)
	// ShareCodes lists the codes of a kind that an account made and that have not expired.
	ShareCodes(ctx context.Context, account, kind string) ([]ShareCode, error)
	// ClaimShareCode uses up a code; the same by may use it again. false: it is unknown,
	// used, expired or revoked.
	ClaimShareCode(ctx context.Context, kind, code, by string) (ShareCode, bool, error)
	// ReleaseShareCode gives a code back that was used for something that was refused.
	ReleaseShareCode(ctx context.Context, kind, code, by string) error
	// RevokeShareCode ends a code that was not used; false: there is none.
	RevokeShareCode(ctx context.Context, account, kind, id string) (bool, error)
}

// NewShareCode is a code to keep.
type NewShareCode struct {
	Kind, Account string
	Content       []byte
	TTL           time.Duration
	Most          int // of the kind; with 1 a new one replaces the one before
	Repeat        string
}

// ShareCode is a code as it is kept.
type ShareCode struct {
	ID               string
	Account          string // that made it
	Content          []byte
	Created, Expires time.Time
	Used             bool
}

// CodeTerms are what the code of an owner offers.
type CodeTerms struct {
	Remark  string         `json:"remark,omitempty"`
	Devices []DeviceGrants `json:"devices"`
}

// CodeMade is a code, which is told only now.
type CodeMade struct {
	Code string
	CodeView
}

// CodeView is a code as its owner sees it.
type CodeView struct {
	ShareCode
	CodeTerms
}

// MakeCode makes a code that offers devices of the caller's to whoever redeems it. ttl 0
// is DefaultCodeTTL.
func (s *Shares) MakeCode(ctx context.Context, m Meta, n CodeTerms, ttl time.Duration) (CodeMade, error) {
	n.Devices = withIDs(n.Devices)
	c, err := s.core.begin(m, "make code", n, ttl)
	if err != nil {
		return CodeMade{}, err
	}
	if ttl == 0 {
		ttl = DefaultCodeTTL
	}
	f := faults{}
	f.text("remark", n.Remark, maxRemark)
	f.devices(n.Devices, share.MaxDevices)
	if len(n.Devices) == 0 {
		f.add("devices", "is empty")
	}
	if ttl < minCodeTTL || ttl > MaxCodeTTL {
		f.add("expires_in", "must be between "+strconv.Itoa(int(minCodeTTL.Seconds()))+" and "+strconv.Itoa(int(MaxCodeTTL.Seconds()))+" seconds")
	}
	if err := f.err(); err != nil {
		return CodeMade{}, err
	}
	if err := s.core.refuseUnproven(ctx, c.Account); err != nil {
		return CodeMade{}, err
	}
	if err := s.mayOffer(ctx, c, n.Devices); err != nil {
		return CodeMade{}, point(refused(err), fieldIn(n.Devices, err))
	}
	content, err := json.Marshal(n)
	if err != nil {
		return CodeMade{}, fmt.Errorf("encoding what a code offers: %w", err)
	}
	made, err := s.makeCode(ctx, NewShareCode{Kind: codeOfOwner, Account: c.Account, Content: content, TTL: ttl, Most: MaxCodes, Repeat: m.IdempotencyKey})
	made.CodeTerms = n
	return made, err
}

// nobodysLogin is a login that no address has.
var nobodysLogin = strings.Repeat("0", 32)

// mayOffer refuses what the owner could not share with anybody.
func (s *Shares) mayOffer(ctx context.Context, c command, devices []DeviceGrants) error {
	offers, err := newLookup(s.core).offers(ctx, devices)
	if err != nil {
		return err
	}
	_, err = share.Decide(share.State{}, share.Save{
		Share: share.ID(c.Account, nobodysLogin), By: c.Account, Login: nobodysLogin, Kind: emailKind, Offers: offers, At: c.at,
	})
	return err
}

func (s *Shares) makeCode(ctx context.Context, n NewShareCode) (CodeMade, error) {
	made, code, err := s.codes.MakeShareCode(ctx, n)
	switch {
	case errors.Is(err, ErrTooManyCodes):
		return CodeMade{}, exceeded(&Exceeded{Quota: QuotaCodes, Most: n.Most})
	case errors.Is(err, ErrOtherCode):
		return CodeMade{}, keyReused(err)
	case err != nil:
		return CodeMade{}, unavailable(fmt.Errorf("making a code: %w", err))
	}
	return CodeMade{Code: code, CodeView: CodeView{ShareCode: made}}, nil
}

// Codes lists the codes of an owner that have not expired, the newest first.
func (s *Shares) Codes(ctx context.Context, owner string) ([]CodeView, error) {
	rows, err := s.codes.ShareCodes(ctx, owner, codeOfOwner)
	if err != nil {
		return nil, unavailable(fmt.Errorf("listing codes: %w", err))
	}
	list := make([]CodeView, len(rows))
	for i, row := range rows {
		list[i].ShareCode = row
		if err := json.Unmarshal(row.Content, &list[i].CodeTerms); err != nil {
			return nil, fmt.Errorf("reading what the code %s offers: %w", row.ID, err)
		}
	}
	return list, nil
}

// RevokeCode ends a code of the caller's that was not used.
func (s *Shares) RevokeCode(ctx context.Context, m Meta, id string) error {
	revoked, err := s.codes.RevokeShareCode(ctx, m.Account, codeOfOwner, id)
	if err != nil {
		return unavailable(fmt.Errorf("revoking a code: %w", err))
	}
	if !revoked {
		return &Error{Code: "code_not_found", Kind: NotFound, Message: "You have no such code that can still be used."}
	}
	return nil
}

// OwnCode makes a code that stands for the caller's address: an owner puts it in the
// place of the recipient. It replaces the one before.
func (s *Shares) OwnCode(ctx context.Context, m Meta) (CodeMade, error) {
	c, err := s.core.begin(m, "make own code")
	if err != nil {
		return CodeMade{}, err
	}
	if _, err := s.core.addressOf(ctx, c.Account); err != nil {
		return CodeMade{}, err
	}
	return s.makeCode(ctx, NewShareCode{Kind: codeOfRecipient, Account: c.Account, TTL: OwnCodeTTL, Most: 1, Repeat: m.IdempotencyKey})
}

// recipient is whom something is shared with.
type recipient struct{ kind, address, login string }

// addressOf returns an address under which an account receives shares: the one that it is
// shown with, if that one does.
func (s *core) addressOf(ctx context.Context, id string) (recipient, error) {
	state, err := s.accountNow(ctx, id)
	if err != nil {
		return recipient{}, err
	}
	var found *account.Address
	for i, a := range state.Addresses {
		usable, err := s.receives(ctx, id, a)
		if err != nil {
			return recipient{}, err
		}
		if usable && (found == nil || a.Login == state.Login) {
			found = &state.Addresses[i]
		}
	}
	if found == nil {
		return recipient{}, refused(errNoAddress)
	}
	plain, err := s.sealer.Unseal(ctx, event.FieldAddress, found.Text)
	if err != nil {
		return recipient{}, unavailable(fmt.Errorf("reading an address: %w", err))
	}
	return recipient{kind: found.Kind, address: plain, login: found.Login}, nil
}

// claimCode uses up a code for the caller's command. giveBack must be called if the
// command is refused.
func (s *Shares) claimCode(ctx context.Context, c command, kind, code string) (claimed ShareCode, giveBack func(), err error) {
	if code == "" || len(code) > maxCode {
		return ShareCode{}, nil, refused(errCode)
	}
	by := c.Account + "\x00" + c.IdempotencyKey
	if c.IdempotencyKey == "" {
		by += "\x00" + c.seed.String()
	}
	claimed, ok, err := s.codes.ClaimShareCode(ctx, kind, code, by)
	if err != nil {
		return ShareCode{}, nil, unavailable(fmt.Errorf("using a code: %w", err))
	}
	if !ok {
		return ShareCode{}, nil, refused(errCode)
	}
	return claimed, func() {
		s.core.afterwards(ctx, "giving a code back", func(ctx context.Context) error { return s.codes.ReleaseShareCode(ctx, kind, code, by) })
	}, nil
}

// noCodes is a ShareCodes without any.
type noCodes struct{}

func (noCodes) MakeShareCode(context.Context, NewShareCode) (ShareCode, string, error) {
	return ShareCode{}, "", errors.New("codes are not kept here")
}
func (noCodes) ShareCodes(context.Context, string, string) ([]ShareCode, error) { return nil, nil }
func (noCodes) ClaimShareCode(context.Context, string, string, string) (ShareCode, bool, error) {
	return ShareCode{}, false, nil
}
func (noCodes) ReleaseShareCode(context.Context, string, string, string) error { return nil }
func (noCodes) RevokeShareCode(context.Context, string, string, string) (bool, error) {
	return false, nil
}
