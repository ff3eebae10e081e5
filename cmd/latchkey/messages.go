package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/api"
	"latchkey/internal/app"
	"latchkey/internal/mail"
	"latchkey/internal/message"
	"latchkey/internal/outbox"
	"latchkey/internal/texthook"
	"latchkey/internal/vault"
)

// People are the flags about accounts, and how messages reach people.
type People struct {
	Mail          string `placeholder:"URL" help:"Mail server for messages to people: smtp://user:password@host:port?from=address, where STARTTLS is required, or smtps://; &tls=off for closed networks."`
	SMSHook       string `name:"sms-hook" placeholder:"URL" help:"HTTP server that sends text messages: it gets POST {id, to, text}, signed with the secret of --sms-hook-secret."`
	SMSHookSecret string `name:"sms-hook-secret" placeholder:"SECRET" help:"Secret that the hook for text messages checks signatures with, at least 16 bytes; best given as LATCHKEY_SMS_HOOK_SECRET."`
	Registration  string `placeholder:"WORD" help:"Who may register: open: everybody; invited: whoever has an invitation of an account; closed: nobody, accounts are made with latchkey account create. Without it: open if --mail or --sms-hook is set, else invited."`
	Verification  string `default:"required" placeholder:"WORD" help:"required: an address receives shares once a code that was sent to it came back; off: for trials and closed networks (${default})."`
}

// The kinds of addresses that messages are sent to.
const (
	emailKind = "email"
	phoneKind = "phone"
)

// checkSenders returns who sends messages, by the kind of address.
func (s People) checkSenders(fault func(flag, format string, args ...any)) map[string]outbox.Sender {
	senders := map[string]outbox.Sender{}
	if s.Mail != "" {
		server, err := mail.Parse(s.Mail)
		if err != nil {
			fault("mail", "%v", err)
		}
		senders[emailKind] = server
	}
	if s.SMSHook != "" {
		hook, err := texthook.New(s.SMSHook, s.SMSHookSecret)
		if err != nil {
			fault("sms-hook", "%v", err)
		}
		senders[phoneKind] = hook
	} else if s.SMSHookSecret != "" {
		fault("sms-hook-secret", "there is no --sms-hook that it is for")
	}
	return senders
}

// warnOfVerification says what an operator should know of the proofs of addresses.
func (s *runningService) warnOfVerification(o options) {
	switch {
	case !o.verify:
		s.logger.Warn("--verification is off: whoever registers an address gets what is shared with it, without any proof that it is theirs")
	case len(o.senders) == 0:
		s.logger.Warn("addresses must be verified, but nothing sends codes: set --mail or --sms-hook; until then only accounts of `latchkey account create`, and the one that the set-up link made, share and receive shares")
	}
}

// checkRegistration returns who may register.
func (s People) checkRegistration(fault func(flag, format string, args ...any)) app.Mode {
	switch mode := app.Mode(s.Registration); mode {
	case app.Open, app.Invited, app.Closed:
		return mode
	case "":
		if s.Mail != "" || s.SMSHook != "" {
			return app.Open
		}
		return app.Invited
	}
	fault("registration", "%q is not one of open, invited and closed", s.Registration)
	return app.Closed
}

// setUpWithin is for how long the link for the first account holds. A new start prints
// another one.
const setUpWithin = 24 * time.Hour

// tellSetUp prints the link for the first account, if there is none. Each start makes a new
// one, which replaces the one before. Only its hash is kept, and it is not written to the
// log; browsers do not send what follows the #.
func (s *runningService) tellSetUp(ctx context.Context, o options, to io.Writer) error {
	empty, err := s.opened.vault.Empty(ctx)
	if err != nil || !empty {
		return err
	}
	_, secret, _, err := s.opened.vault.NewInvitation(ctx, "", setUpWithin, 1)
	if err != nil {
		return err
	}
	fmt.Fprintf(to, "\nThere is no account yet. Set Latchkey up in a browser:\n\n  %s/setup#%s\n\nThe link makes one account, within 24 hours; another start prints another one.\n\n", s.portalAddress(o), secret)
	return nil
}

// invitations keeps invitations for the API.
type invitations struct{ *vault.Vault }

func (i invitations) NewInvitation(ctx context.Context, account string, ttl time.Duration, most int) (api.InvitationView, string, bool, error) {
	made, token, ok, err := i.Vault.NewInvitation(ctx, account, ttl, most)
	return api.InvitationView(made), token, ok, err
}

func (i invitations) Invitations(ctx context.Context, account string) ([]api.InvitationView, error) {
	rows, err := i.Vault.Invitations(ctx, account)
	list := make([]api.InvitationView, len(rows))
	for n, row := range rows {
		list[n] = api.InvitationView(row)
	}
	return list, err
}

// invitationsOf are those of the API, nil where nobody may register with one.
func (o options) invitationsOf(v *vault.Vault) api.Invitations {
	if o.registration == app.Closed {
		return nil
	}
	return invitations{v}
}

// warnOfMail says that mail can be read on the way.
func (s *runningService) warnOfMail(o options) {
	if server, ok := o.senders[emailKind].(*mail.Server); ok && server.Plain() {
		s.logger.Warn("--mail has tls=off: codes and addresses can be read on the way to the mail server")
	}
}

// startOutbox sends what is in the outbox. What a process of before held, which was
// alone on this database, nobody sends any more.
func (s *runningService) startOutbox(ctx context.Context, o options) error {
	if s.opened.node != nil && !isPostgres(o.Database) {
		if err := errors.Join(s.opened.vault.ReleaseOutgoing(ctx), s.opened.vault.ReleaseNotices(ctx)); err != nil {
			return err
		}
	}
	s.opened.outbox = outbox.New(outbox.Config{Store: outbox.InVault{Vault: s.opened.vault}, Senders: o.senders, Logger: s.logger})
	s.run("messages to people", s.opened.outbox.Run)
	return nil
}

// printed is a Sender that prints, for the demo.
type printed struct {
	mu *sync.Mutex
	to io.Writer
}

// Send prints a message.
func (p printed) Send(_ context.Context, m outbox.Message, handOver func() error) error {
	if err := handOver(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.ReplaceAll(strings.TrimSpace(m.Text), "\n", "\n  | ")
	_, err := fmt.Fprintf(p.to, "  | to %s: %s\n  | %s\n", m.To, m.Subject, text)
	return err
}

// printingSenders print messages to addresses of every kind.
func printingSenders(to io.Writer) map[string]outbox.Sender {
	p := printed{mu: &sync.Mutex{}, to: to}
	return map[string]outbox.Sender{emailKind: p, phoneKind: p}
}

// readyWords is a time in words that no time zone makes wrong.
func readyWords(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// messenger keeps messages to people in the outbox.
type messenger struct {
	opened  *opened
	senders map[string]outbox.Sender // by the kind of address
}

// Send keeps a message in the words of its reader.
func (m messenger) Send(ctx context.Context, n app.Notice) error {
	if _, can := m.senders[n.Kind]; !can && slices.Contains([]string{app.NoticeTransfer, app.NoticeReclaim, app.NoticeReclaimed}, n.What) {
		return nil // where nothing is sent, people look at their lists
	}
	if n.What == app.NoticeNothing {
		n.What, n.Until = app.NoticeKnown, time.Now() // it is over before anybody sends it
	}
	text, err := message.Of(n.What, n.Language, message.Values{Code: n.Code, Minutes: int(time.Until(n.Until).Round(time.Minute).Minutes()), Ready: readyWords(n.Ready)})
	if err != nil {
		return err
	}
	out := outbox.Message{ID: n.ID, Account: n.Account, Until: n.Until, Kind: n.Kind, To: n.To, Subject: text.Subject, Text: text.Body}
	if n.Kind == phoneKind {
		out.Subject, out.Text = "", text.Short
	}
	if err := (outbox.InVault{Vault: m.opened.vault}).Enqueue(ctx, out); err != nil {
		return err
	}
	if m.opened.outbox != nil {
		m.opened.outbox.Wake()
	}
	return nil
}
