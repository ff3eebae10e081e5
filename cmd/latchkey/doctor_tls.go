package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"latchkey/internal/certificate"
)

// soon is how long before its end a certificate is warned of.
const soon = 14 * 24 * time.Hour

// tls looks at the certificates of --https and --rtsps.
func (d *doctor) tls(ctx context.Context) (list []finding) {
	o := d.o
	if o.HTTPS == "" && o.RTSPS == "" {
		return []finding{ok("tls", "it is off")}
	}
	if o.HTTPS != "" {
		switch {
		case o.HTTPSCert != "":
			list = append(list, d.certificateFiles("--https", o.HTTPSCert, o.HTTPSKey)...)
		case len(o.secure.acme) > 0:
			list = append(list, d.acme(ctx)...)
		default:
			list = append(list, d.authority())
		}
	}
	if o.RTSPSCert != "" {
		list = append(list, d.certificateFiles("--rtsps", o.RTSPSCert, o.RTSPSKey)...)
	}
	return list
}

func (d *doctor) certificateFiles(flag, cert, key string) []finding {
	files, err := certificate.OpenFiles(cert, key, d.now, slog.New(slog.DiscardHandler))
	if err != nil {
		do := "Both files must be readable for this user, PEM, and belong together."
		if strings.Contains(err.Error(), "private key does not match") {
			do = "The key is of another certificate: give the two that belong together."
		}
		return []finding{ok("tls", "%s: %v", flag, err).but(problem, do)}
	}
	list := []finding{d.validity(flag, files.Leaf())}
	if !files.Public() {
		list = append(list, ok("tls", "%s: this machine does not trust the certificate", flag).but(warning, "Browsers may warn of it. If it is of a public authority, put the intermediate certificates behind it in the file."))
	}
	return list
}

// validity reports for which names and how long a certificate is good.
func (d *doctor) validity(flag string, leaf *x509.Certificate) finding {
	names := leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	f := ok("tls", "%s: the certificate is for %s, until %s", flag, strings.Join(names, ", "), leaf.NotAfter.UTC().Format(time.DateOnly))
	switch now := d.now(); {
	case now.After(leaf.NotAfter):
		return f.but(problem, "It has expired: renew it. The service reads the files again by itself.")
	case now.Before(leaf.NotBefore):
		return f.but(problem, "It is not valid yet: look at the clock of this machine.")
	case len(names) == 0:
		return f.but(problem, "It has no names, which browsers require: have one made with subjectAltName.")
	case leaf.NotAfter.Sub(now) < soon:
		return f.but(warning, "It ends soon: renew it.")
	}
	return f
}

// acme asks whether the authority can be reached, and where the names lead.
func (d *doctor) acme(ctx context.Context) (list []finding) {
	at := d.o.secure.directory
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err == nil {
		var res *http.Response
		if res, err = http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s answers %s", at, res.Status)
			}
		}
	}
	if err != nil {
		list = append(list, ok("tls", "the ACME authority cannot be asked: %v", err).but(problem, "This machine needs to reach it by HTTPS."))
	} else {
		list = append(list, ok("tls", "the ACME authority %s answers", hostOfURL(at)))
	}
	for _, name := range d.o.secure.acme {
		addrs, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			list = append(list, ok("tls", "%v", err).but(problem, "The name must lead to this machine from the Internet: make a DNS record for it."))
			continue
		}
		list = append(list, ok("tls", "%s leads to %s", name, strings.Join(addrs, ", ")))
	}
	return list
}

// authority looks at the service's own.
func (d *doctor) authority() finding {
	file := filepath.Join(d.o.Data, authorityFile)
	a, err := certificate.OpenAuthority(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ok("tls", "the service makes a certificate authority of its own at its first start")
	case errors.Is(err, os.ErrPermission):
		return ok("tls", "%v", err).but(problem, "Run this as the user of the service.")
	case err != nil:
		return ok("tls", "%v", err).but(problem, "Put the file back from a backup; without it devices have to trust a new authority.")
	}
	f := d.validity("--https", a.Root())
	f.Text = fmt.Sprintf("the service's own authority, until %s; devices have to trust it: latchkey root", a.Root().NotAfter.UTC().Format(time.DateOnly))
	if len(a.Root().DNSNames) == 0 && f.State == problem && d.now().Before(a.Root().NotAfter) && d.now().After(a.Root().NotBefore) {
		f.State, f.Do = fine, "" // an authority has no names
	}
	return f
}
