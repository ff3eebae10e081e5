package notices

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/message"
	"latchkey/internal/outbox"
	"latchkey/internal/vault"
)

const (
	// mostTogether is how many notices one mail has.
	mostTogether = 50
	// retryLook is when a notice is looked up again that could not be.
	retryLook = 20 * time.Second
	// lookWithin bounds looking up the notices of one mail.
	lookWithin = 20 * time.Second

	// An address gets a bounded number of mails a day; what is over that waits, and goes
	// together later. So do invitations of one account to people whom we do not know.
	mailBurst, mailEvery   = 20, 24 * time.Hour / 20
	payerBurst, payerEvery = 200, 24 * time.Hour / 200
)

// Mails is the outbox.Store of mail and text messages: notices to one person that are due
// go together.
type Mails struct {
	*Notifier
}

// Claim implements outbox.Store: it takes notices and writes the message.
func (s Mails) Claim(ctx context.Context, holder string, lasts time.Duration) (outbox.Message, bool, error) {
	return s.claim(ctx, mailChannel, holder, lasts, mostTogether, s.write)
}

// write writes the message of notices; one without an address if none is to be sent. wait:
// it must not be sent before.
func (s Mails) write(ctx context.Context, list []vault.Notice) (m outbox.Message, wait time.Duration, err error) {
	told, tries, err := s.look(ctx, list)
	if err != nil || len(told) == 0 {
		return m, 0, err
	}
	if tries == 0 {
		if wait, err = s.pay(ctx, told); err != nil || wait > 0 {
			return m, wait, err
		}
	}
	m, err = compose(told)
	m.ID, m.Tries = list[0].ID, tries
	for _, n := range list {
		if n.Until.After(m.Until) {
			m.Until = n.Until
		}
	}
	return m, 0, err
}

// look looks up what is still to be told, once each. tries is how often it was tried to.
func (s Mails) look(ctx context.Context, list []vault.Notice) (told []app.Telling, tries int, err error) {
	type one struct {
		app.Tiding
		app.Side
		share, device string
	}
	seen := map[one]int{}
	for _, n := range list {
		tries = max(tries, n.Tries)
		a, err := aboutOf(n)
		if err != nil {
			s.cfg.Logger.WarnContext(ctx, "a notice cannot be read", "error", err)
			continue
		}
		t, ok, err := s.cfg.Told.Look(ctx, a)
		if err != nil {
			return nil, 0, err
		}
		if !ok || t.Address == "" || !slices.Contains(s.cfg.Kinds, t.AddressKind) || !wanted(t, t.Settings.Mail.Sends(t.Kind())) {
			continue
		}
		of := one{a.Tiding, a.Side, a.Share, a.Device}
		if at, again := seen[of]; again {
			told[at] = t
			continue
		}
		seen[of] = len(told)
		told = append(told, t)
	}
	return told, tries, nil
}

// wanted reports whether an account wants a notice on a channel that sends its kind or not.
func wanted(t app.Telling, sends bool) bool {
	return sends && !t.Settings.Muted(t.Share, t.Device) && !(t.Own && t.Settings.OwnOff)
}

// pay counts a message. It returns how long to wait if there were too many.
func (s Mails) pay(ctx context.Context, told []app.Telling) (time.Duration, error) {
	if payer := told[0].Payer; payer != "" {
		if wait, err := s.cfg.Vault.Take(ctx, "invitations by mail of "+payer, payerEvery, payerBurst); wait > 0 || err != nil {
			return wait, err
		}
	}
	return s.cfg.Vault.Take(ctx, "notices to "+told[0].AddressKind+" "+told[0].Address, mailEvery, mailBurst)
}

// timeForm is how times are written; the reader's time zone is not known.
const timeForm = "2006-01-02 15:04 UTC"

func wordsOf(t app.Telling) string {
	what := "told_" + string(t.Tiding)
	if t.Side == app.OwnerSide && (t.Own || t.Tiding == app.TidingEndsSoon) {
		what += "_own"
	}
	return what
}

func valuesOf(t app.Telling) message.Values {
	v := message.Values{
		From: person(t.OtherName, t.OtherAddress), Device: clean(t.DeviceName), Whole: t.Device == "", Time: t.At.UTC().Format(timeForm),
	}
	if !t.Ends.IsZero() {
		v.Ends = t.Ends.UTC().Format(timeForm)
	}
	return v
}

// compose writes one message of all notices, which are for one person.
func compose(told []app.Telling) (outbox.Message, error) {
	first := told[0]
	m := outbox.Message{Account: first.Account, Kind: first.AddressKind, To: first.Address}
	language := first.Language
	var lines []string
	invitations := true
	for _, t := range told {
		text, err := message.Of(wordsOf(t), language, valuesOf(t))
		if err != nil {
			return m, err
		}
		lines = append(lines, text.Short)
		invitations = invitations && t.Tiding == app.TidingInvited
		m.Subject, m.Text = text.Subject, text.Body
	}
	if len(told) > 1 {
		what := "told_digest"
		if invitations {
			what = "told_invitations"
		}
		text, err := message.Of(what, language, message.Values{Count: len(told)})
		if err != nil {
			return m, err
		}
		m.Subject, m.Text = text.Subject, text.Body
		if m.Kind == phoneKind {
			lines = []string{text.Short}
		}
	}
	if m.Kind == phoneKind {
		text, err := message.Of("told_text", language, message.Values{})
		m.Subject, m.Text = "", strings.Join(append(lines, text.Short), " ")
		return m, err
	}
	hint := m.Text
	m.Text = strings.Join(lines, "\n") + "\n"
	if len(lines) > 1 {
		m.Text = "- " + strings.Join(lines, "\n- ") + "\n"
	}
	if hint != "" {
		m.Text += "\n" + hint
	}
	if first.Account != "" {
		text, err := message.Of("told_footer", language, message.Values{})
		if err != nil {
			return m, err
		}
		m.Text += text.Body
	}
	if strings.ContainsAny(m.Subject, "\r\n") {
		return m, fmt.Errorf("the subject of %s has more than one line", wordsOf(first))
	}
	return m, nil
}

const phoneKind = "phone"
