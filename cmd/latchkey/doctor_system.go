package main

import (
	"cmp"
	"context"
	"net"
	"net/url"

	"golang.org/x/sys/unix"

	"latchkey/internal/descriptors"
)

// clock asks the kernel whether somebody keeps its clock right.
func (d *doctor) clock(context.Context) []finding {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return []finding{clockFinding(state, int(t.Status), err)}
}

// clockFinding judges what adjtimex says (adjtimex(2)).
func clockFinding(state, status int, err error) finding {
	const notSynchronised = 5 // TIME_ERROR
	switch {
	case err != nil:
		return ok("clock", "whether it is kept right is not known: %v", err)
	case state == notSynchronised || status&unix.STA_UNSYNC != 0:
		return ok("clock", "nothing keeps it right").but(warning,
			"Switch NTP on (timedatectl set-ntp true, or chrony), or in a container, on its host: shares end, and recordings are found, by the clock.")
	}
	return ok("clock", "it is synchronised")
}

// fewDescriptors is the limit on open files below which few can connect.
const fewDescriptors = 4096

func (d *doctor) descriptors(context.Context) []finding {
	limit, err := descriptors.Limit()
	return []finding{descriptorsFinding(limit, err)}
}

func descriptorsFinding(limit int, err error) finding {
	if err != nil {
		return ok("descriptors", "%v", err).but(warning, "Look with ulimit -n.")
	}
	f := ok("descriptors", "%d files and connections may be open", limit)
	if limit < fewDescriptors {
		f = f.but(warning, "Few can connect at once: raise the limit (LimitNOFILE=65536 in systemd, --ulimit nofile=65536 for containers).")
	}
	return f
}

// messages connects to what sends mail and text messages, and sends nothing.
func (d *doctor) messages(ctx context.Context) (list []finding) {
	for _, m := range []struct{ flag, at, port string }{
		{"--mail", d.o.Mail, "587"}, {"--sms-hook", d.o.SMSHook, "443"},
	} {
		u, err := url.Parse(m.at)
		if m.at == "" || err != nil {
			continue
		}
		port := m.port
		switch u.Scheme {
		case "smtps":
			port = "465"
		case "http":
			port = "80"
		}
		at := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
		if err != nil {
			list = append(list, ok("messages", "%s: %v", m.flag, err).but(problem, "Start it, or correct the address; a firewall may be between."))
			continue
		}
		_ = conn.Close()
		list = append(list, ok("messages", "%s: %s is there", m.flag, at))
	}
	if list == nil {
		list = []finding{ok("messages", "none are sent")}
	}
	return list
}
