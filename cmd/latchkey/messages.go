package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"latchkey/internal/mail"
	"latchkey/internal/outbox"
	"latchkey/internal/texthook"
)

// The kinds of addresses that messages are sent to.
const (
	emailKind = "email"
	phoneKind = "phone"
)

// checkSenders returns who sends messages, by the kind of address.
func (s settings) checkSenders(fault func(flag, format string, args ...any)) map[string]outbox.Sender {
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
		if err := s.opened.vault.ReleaseOutgoing(ctx); err != nil {
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
