// Package mail sends mail through a server that an operator names by a connection string.
package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strconv"
	"strings"

	gomail "github.com/wneessen/go-mail"

	"latchkey/internal/outbox"
)

// Server is a mail server and the address that mail comes from.
type Server struct {
	host           string
	port           int
	user, password string
	from           string // RFC 5322, with or without a name
	domain         string // of that address
	ssl, plain     bool   // TLS from the beginning; no TLS at all
	tls            *tls.Config
}

// Address returns the address that mail comes from, without a name.
func (s *Server) Address() string {
	if a, err := mail.ParseAddress(s.from); err == nil {
		return a.Address
	}
	return ""
}

// Parse reads a connection string: smtp://user:password@host:port?from=address, where
// STARTTLS is required, or smtps:// for TLS from the beginning. With tls=off there is no
// TLS, for closed networks. An error never has the connection string in it, which may hold
// a password.
func Parse(text string) (*Server, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("want smtp://user:password@host:port?from=address, or smtps://")
	}
	s := &Server{host: u.Hostname(), ssl: u.Scheme == "smtps", user: u.User.Username(), port: 587}
	s.password, _ = u.User.Password()
	if s.ssl {
		s.port = 465
	}
	if p := u.Port(); p != "" {
		if s.port, err = strconv.Atoi(p); err != nil || s.port < 1 || s.port > 65535 {
			return nil, errors.New("the port is out of bounds")
		}
	}
	for name, values := range u.Query() {
		switch {
		case len(values) != 1:
			return nil, fmt.Errorf("%q is given more than once", name)
		case name == "from":
			s.from = values[0]
		case name == "tls" && values[0] == "off" && !s.ssl:
			s.plain = true
		case name == "tls" && values[0] == "required":
		default:
			return nil, fmt.Errorf("%q is not a setting that there is, or not with that value: want from=address, tls=required or, with smtp://, tls=off", name)
		}
	}
	address, err := mail.ParseAddress(s.from)
	if err != nil {
		return nil, errors.New("from= must be the address that mail comes from")
	}
	_, s.domain, _ = strings.Cut(address.Address, "@")
	s.tls = &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
	return s, nil
}

// Plain reports whether mail goes over the network without encryption.
func (s *Server) Plain() bool { return s.plain }

func (s *Server) client() (*gomail.Client, error) {
	o := []gomail.Option{gomail.WithPort(s.port), gomail.WithTLSConfig(s.tls), gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithoutNoop(), gomail.WithoutRset()}
	auth := gomail.SMTPAuthAutoDiscover
	switch {
	case s.ssl:
		o = append(o, gomail.WithSSL())
	case s.plain:
		o, auth = append(o, gomail.WithTLSPolicy(gomail.NoTLS)), gomail.SMTPAuthPlainNoEnc
	}
	if s.user != "" {
		o = append(o, gomail.WithSMTPAuth(auth), gomail.WithUsername(s.user), gomail.WithPassword(s.password))
	}
	return gomail.NewClient(s.host, o...)
}

// Send sends one mail over a connection of its own. What the server refuses with a code
// of 5xx is refused for good, if it is about this mail; a connection that breaks after the
// mail was written leaves it unclear whether it was taken.
func (s *Server) Send(ctx context.Context, m outbox.Message, handOver func() error) error {
	msg, err := s.message(m)
	if err != nil {
		return fmt.Errorf("%w: %w", outbox.ErrRefused, err)
	}
	client, err := s.client()
	if err != nil {
		return fmt.Errorf("preparing to send mail: %w", err)
	}
	connection, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the mail server: %w", err)
	}
	defer func() { _ = client.CloseWithSMTPClient(connection) }() // the mail is taken or not by then
	if err := handOver(); err != nil {
		return err
	}
	return outcome(client.SendWithSMTPClient(connection, msg))
}

func (s *Server) message(m outbox.Message) (*gomail.Msg, error) {
	msg := gomail.NewMsg()
	if err := errors.Join(msg.From(s.from), msg.To(m.To)); err != nil {
		return nil, errors.New("the address is not one that mail can be sent to")
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(m.ID + "@" + s.domain)
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	return msg, nil
}

// outcome says what became of a mail. The words of the server are left out: they may
// have the address in them.
func outcome(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return fmt.Errorf("%w: %w", outbox.ErrUnclear, err)
	}
	code := e.ErrorCode()
	switch {
	case code >= 500:
		return fmt.Errorf("%w: the mail server answered %d %s", outbox.ErrRefused, code, e.EnhancedStatusCode())
	case code >= 400:
		return fmt.Errorf("the mail server answered %d %s", code, e.EnhancedStatusCode())
	case e.Reason == gomail.ErrSMTPDataClose: // its end was written, and no answer came
		return fmt.Errorf("%w: the connection to the mail server broke", outbox.ErrUnclear)
	}
	return fmt.Errorf("the connection to the mail server broke: reason %d", e.Reason)
}
