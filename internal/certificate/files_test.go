package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// selfSigned writes a certificate of 127.0.0.1 and its key into two files of the folder.
func selfSigned(t testing.TB, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestTheCertificateIsRenewed: without a restart; half of a new one, or none, leaves the
// old one, and is logged once.
func TestTheCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := selfSigned(t, dir, "first")
	now := time.Now()
	var logged bytes.Buffer
	c, err := OpenFiles(certFile, keyFile, func() time.Time { return now }, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	uses := func(want string) {
		t.Helper()
		got, err := c.Get(&tls.ClientHelloInfo{})
		if err != nil || got.Leaf.Subject.CommonName != want {
			t.Errorf("%v, %v; want %s", got.Leaf.Subject, err, want)
		}
	}
	errorsAre := func(want int) {
		t.Helper()
		if got := strings.Count(logged.String(), "level=ERROR"); got != want {
			t.Errorf("%d errors, want %d: %s", got, want, &logged)
		}
	}
	uses("first")
	oldKey, _ := os.ReadFile(keyFile)
	selfSigned(t, dir, "second")
	uses("first") // it was looked less than a second ago
	newKey, _ := os.ReadFile(keyFile)
	_ = os.WriteFile(keyFile, oldKey, 0o600) // the key does not belong to it yet
	for range 3 {
		now = now.Add(filesEvery)
		uses("first")
	}
	errorsAre(1)
	_ = os.WriteFile(keyFile, append(newKey, '\n'), 0o600)
	now = now.Add(filesEvery)
	uses("second")
	_ = os.Remove(certFile)
	for range 3 {
		now = now.Add(filesEvery)
		uses("second")
	}
	errorsAre(2)
	selfSigned(t, dir, "third")
	now = now.Add(filesEvery)
	uses("third")
	_ = os.Chmod(keyFile, 0o604)
	if _, err := OpenFiles(certFile, keyFile, time.Now, slog.Default()); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a key that everybody may read: %v", err)
	}
}
