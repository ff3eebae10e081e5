package mail

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mailtest"
	"latchkey/internal/outbox"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"smtp://mail.example.com?from=a@example.com":                           "",
		"smtps://u:p@mail.example.com:465?from=Latchkey%20%3Ca@example.com%3E": "",
		"smtp://mail.example.com:25?from=a@example.com&tls=off":                "",
		"": "want smtp://",
		"http://mail.example.com?from=a@example.com":           "want smtp://",
		"smtp://u:p%ss@mail.example.com?from=a@example.com":    "want smtp://",
		"smtp://mail.example.com/path?from=a@example.com":      "want smtp://",
		"smtp://mail.example.com:0?from=a@example.com":         "the port",
		"smtp://mail.example.com":                              "from=",
		"smtp://mail.example.com?from=nobody":                  "from=",
		"smtp://mail.example.com?from=a@example.com&tls=maybe": `"tls"`,
		"smtps://mail.example.com?from=a@example.com&tls=off":  `"tls"`,
		"smtp://mail.example.com?from=a@b.example&from=c@d.de": `"from"`,
	} {
		_, err := Parse(text)
		if (err == nil) != (want == "") || err != nil && (!strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "p%ss")) {
			t.Errorf("Parse(%q) = %v; want %q", text, err, want)
		}
	}
}

func connect(t *testing.T, s *mailtest.Server, more string) *Server {
	t.Helper()
	server, err := Parse("smtp://" + mailtest.User + ":mail%20secret@" + s.Addr + "?from=Latchkey%20%3Cnoreply@example.com%3E" + more)
	if err != nil {
		t.Fatal(err)
	}
	server.tls.RootCAs = x509.NewCertPool()
	server.tls.RootCAs.AppendCertsFromPEM(s.CA)
	return server
}

var message = outbox.Message{ID: "0a1b", Kind: "email", To: "rita@example.com", Subject: "Ihr Bestätigungscode", Text: "Grüße, 12345678\n"}

func send(t *testing.T, s *Server) (handed bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = s.Send(ctx, message, func() error { handed = true; return nil })
	return handed, err
}

func TestSend(t *testing.T) {
	s := mailtest.Start(t)
	if handed, err := send(t, connect(t, s, "")); err != nil || !handed {
		t.Fatal(handed, err)
	}
	took := s.Took()
	if len(took) != 1 || !took[0].TLS || took[0].User != mailtest.User || took[0].To != message.To || took[0].From != "noreply@example.com" {
		t.Fatalf("%+v", took)
	}
	for _, want := range []string{"Message-ID: <0a1b@example.com>", "Auto-Submitted: auto-generated", "Subject: =?UTF-8?", "12345678"} {
		if !strings.Contains(took[0].Text, want) {
			t.Errorf("%q is not in\n%s", want, took[0].Text)
		}
	}
}

// TestNoMailWithoutTLS: a server, or somebody in between, that does not offer STARTTLS
// gets neither the password nor the mail.
func TestNoMailWithoutTLS(t *testing.T) {
	s := mailtest.Start(t, mailtest.WithoutTLS)
	if handed, err := send(t, connect(t, s, "")); err == nil || handed || errors.Is(err, outbox.ErrRefused) || s.Tries() != 0 {
		t.Fatalf("%v, %v, %d tries", handed, err, s.Tries())
	}
	if _, err := send(t, connect(t, s, "&tls=off")); err != nil || len(s.Took()) != 1 || s.Took()[0].TLS {
		t.Fatalf("with tls=off: %v, %+v", err, s.Took())
	}
	foreign := mailtest.Start(t)
	server := connect(t, s, "")
	server.port = connect(t, foreign, "").port
	if handed, err := send(t, server); err == nil || handed {
		t.Fatalf("a certificate of somebody else: %v, %v", handed, err)
	}
}

func TestFailures(t *testing.T) {
	for _, sc := range []struct {
		name, step       string
		answer           error
		refused, unclear bool
	}{
		{"sender later", mailtest.StepMail, mailtest.Refuse(451), false, false},
		{"sender never", mailtest.StepMail, mailtest.Refuse(550), true, false},
		{"recipient later", mailtest.StepRcpt, mailtest.Refuse(450), false, false},
		{"recipient never", mailtest.StepRcpt, mailtest.Refuse(550), true, false},
		{"content later", mailtest.StepData, mailtest.Refuse(452), false, false},
		{"content never", mailtest.StepData, mailtest.Refuse(554), true, false},
		{"cut at the recipient", mailtest.StepRcpt, mailtest.ErrCut, false, false},
		{"cut after the content", mailtest.StepTaken, mailtest.ErrCut, false, true},
	} {
		t.Run(sc.name, func(t *testing.T) {
			s := mailtest.Start(t)
			s.Answer(func(step string, _ int) error {
				if step == sc.step {
					return sc.answer
				}
				return nil
			})
			_, err := send(t, connect(t, s, ""))
			if err == nil || errors.Is(err, outbox.ErrRefused) != sc.refused || errors.Is(err, outbox.ErrUnclear) != sc.unclear {
				t.Fatalf("%v; want refused %v, unclear %v", err, sc.refused, sc.unclear)
			}
			if strings.Contains(err.Error(), "rita@") {
				t.Errorf("the address is in the error: %v", err)
			}
		})
	}
}

// TestNotHandedOver: a message that somebody else has is not sent.
func TestNotHandedOver(t *testing.T) {
	s := mailtest.Start(t)
	lost := errors.New("somebody else has it")
	if err := connect(t, s, "").Send(t.Context(), message, func() error { return lost }); !errors.Is(err, lost) || s.Tries() != 0 {
		t.Fatalf("%v, %d tries", err, s.Tries())
	}
	bad := message
	bad.To = "rita@example.com\r\nBcc: eve@example.com"
	if err := connect(t, s, "").Send(t.Context(), bad, func() error { return nil }); !errors.Is(err, outbox.ErrRefused) || s.Tries() != 0 {
		t.Fatalf("an address with a header in it: %v", err)
	}
}
