package device

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
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

// TestCertificatesOfHTTPS: the same for the other services of a device.
func TestCertificatesOfHTTPS(t *testing.T) {
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<DeviceInfo><serialNumber>DS-1</serialNumber></DeviceInfo>")
	}))
	defer web.Close()
	want := rtspclient.Fingerprint(sha256.Sum256(web.Certificate().Raw))
	for name, target := range map[string]Target{"ISAPI": {ISAPIURL: web.URL}, "ONVIF": {ONVIFURL: web.URL}} {
		target.Account = "alice"
		_, err := newClient(t).Prove(t.Context(), target)
		var f *Failure
		if !errors.As(err, &f) || f.Kind != CertificateNotTrusted || f.Certificate != want {
			t.Errorf("%s: %+v", name, err)
		}
		target.Certificate = want
		if _, err = newClient(t).Prove(t.Context(), target); kindIn(err) == CertificateNotTrusted {
			t.Errorf("%s, confirmed: %v", name, err)
		}
	}
}
