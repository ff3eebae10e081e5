package device

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"latchkey/streaming/cameratest"
	"latchkey/streaming/rtspclient"
)

// TestCertificates: an rtsps camera signs its own, which its owner confirms.
func TestCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	addr := serving(t, func(conn net.Conn) {
		secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		cameratest.Script(secured, func(method, cseq string) string {
			if method == "DESCRIBE" {
				return cameratest.WithSDP(cseq, cameratest.SDP)
			}
			return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\n\r\n"
		})
	})
	target := Target{Account: "alice", Streams: []Stream{{1, "rtsps://" + addr + "/live"}}}
	client := newClient(t)
	_, err = client.Prove(t.Context(), target)
	var f *Failure
	if !errors.As(err, &f) || f.Kind != CertificateNotTrusted || f.Certificate != rtspclient.Fingerprint(sha256.Sum256(der)) {
		t.Fatalf("%+v", err)
	}
	if err := client.Alive(t.Context(), target.Streams[0].URL); err != nil {
		t.Errorf("it responds: %v", err)
	}
	target.Certificate = f.Certificate
	if _, err := client.Prove(t.Context(), target); err != nil {
		t.Errorf("with the confirmed certificate: %v", err)
	}
	target.Certificate[0]++
	if _, err = client.Prove(t.Context(), target); kindIn(err) != CertificateNotTrusted {
		t.Errorf("with another one: %v", err)
	}
}
