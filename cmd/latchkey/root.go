package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"latchkey/internal/certificate"
	"latchkey/internal/qrcode"
)

// rootCommand shows the service's own certificate authority.
type rootCommand struct {
	Data  string `default:"latchkey-data" placeholder:"DIR" help:"Folder for the log, the read models and the vault (${default})."`
	HTTP  string `name:"http" default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address of the REST API (${default})."`
	HTTPS string `name:"https" placeholder:"ADDR" help:"Address of the portal and the REST API over TLS, as the service has it."`
	PEM   bool   `name:"pem" help:"Print the certificate alone, as PEM."`
	URL   string `name:"url" env:"LATCHKEY_ROOT_URL" placeholder:"URL" help:"Address for the QR code, if devices reach the service by another one, such as http://192.168.1.5:8080/root.crt."`
	QR    string `name:"qr" env:"LATCHKEY_ROOT_QR" placeholder:"FILE" help:"Also write the QR code to this file, which ends in .png or .svg."`
}

// Help returns additional text for --help.
func (*rootCommand) Help() string {
	return `The service makes the authority when it starts with --https and neither --https-cert nor --acme. Devices that trust it open the service without a warning. It can vouch for names and addresses of local networks only.

Give this command the --data, --http and --https of the service.

  latchkey root --https 0.0.0.0:8443
  latchkey root --pem > latchkey-root.crt`
}

// Run prints what a person needs to trust the authority.
func (c *rootCommand) Run(_ context.Context, std streams) error {
	a, err := certificate.OpenAuthority(filepath.Join(c.Data, authorityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no certificate authority in %s: the service makes it when it starts with --https, without --https-cert and --acme", c.Data)
	}
	if err != nil {
		return err
	}
	if c.PEM {
		_, err := std.out.Write(a.PEM())
		return err
	}
	address := c.URL
	if address == "" {
		if address, err = c.address(); err != nil {
			return err
		}
	}
	code, err := qrcode.New(address)
	if err != nil {
		return err
	}
	if c.QR != "" {
		if err := writeQR(c.QR, code); err != nil {
			return err
		}
	}
	fmt.Fprintf(std.out, "%s, until %s\nSHA-256 %s\n\n%s\n\n%s", a.Root().Subject.CommonName, a.Root().NotAfter.Format("2006-01-02"), a.Fingerprint(), address, code.Terminal())
	return nil
}

// address returns where the service offers the certificate.
func (c *rootCommand) address() (string, error) {
	plain, err := net.ResolveTCPAddr("tcp", c.HTTP)
	if err != nil {
		return "", &configFaults{[]string{fmt.Sprintf("--http: %q is not an address such as 127.0.0.1:8080", c.HTTP)}}
	}
	if c.HTTPS == "" {
		return "", &configFaults{[]string{"--https: the address of the service over TLS is required, or --url"}}
	}
	secure, err := net.ResolveTCPAddr("tcp", c.HTTPS)
	if err != nil {
		return "", &configFaults{[]string{fmt.Sprintf("--https: %q is not an address such as 0.0.0.0:443", c.HTTPS)}}
	}
	return rootAddress(wildcard(plain), wildcard(secure)), nil
}

// wildcard returns the address of a listener, whose host may be left out.
func wildcard(a *net.TCPAddr) *net.TCPAddr {
	if a.IP == nil {
		a.IP = net.IPv6unspecified
	}
	return a
}

func writeQR(file string, code qrcode.Code) error {
	var drawing []byte
	switch strings.ToLower(filepath.Ext(file)) {
	case ".png":
		drawing = code.PNG()
	case ".svg":
		drawing = code.SVG()
	default:
		return &configFaults{[]string{fmt.Sprintf("--qr: %q ends neither in .png nor in .svg", file)}}
	}
	if err := os.WriteFile(file, drawing, 0o644); err != nil {
		return fmt.Errorf("writing the QR code: %w", err)
	}
	return nil
}
