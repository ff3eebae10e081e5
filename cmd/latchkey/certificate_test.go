package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// secured puts TLS with a certificate of its own before a camera.
func secured(t testing.TB, ip, camera string) (addr, fingerprint string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", ip+":0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer front.Close()
				back, err := net.Dial("tcp", camera)
				if err != nil {
					return
				}
				defer back.Close()
				go func() { _, _ = io.Copy(back, front); back.Close() }()
				_, _ = io.Copy(front, back)
			}()
		}
	}()
	sum := sha256.Sum256(der)
	return l.Addr().String(), hex.EncodeToString(sum[:])
}

// TestACertificateIsConfirmed: a camera that signs its own is added, and played, once its
// owner has sent the fingerprint that the refusal names.
func TestACertificateIsConfirmed(t *testing.T) {
	t.Parallel()
	cam := startSimCamera(t, "127.2.0.21")
	addr, fingerprint := secured(t, "127.2.0.22", cam.RTSPAddr())
	s := proving(t)
	owner := s.register(t, "owner")
	camera := map[string]any{
		"name": "Door", "rtsp_url": strings.Replace(cam.URL(1, false), "rtsp://"+cam.RTSPAddr(), "rtsps://"+addr, 1),
		"username": cameraUser, "password": cameraPassword,
	}
	res, p := post(t, s, owner.token, "/devices", camera)
	if res.StatusCode != 422 || p.Code != "certificate_not_trusted" || p.Certificate != fingerprint {
		t.Fatalf("%d, %+v; want %s", res.StatusCode, p, fingerprint)
	}
	camera["certificate_sha256"] = strings.Repeat("0", 64)
	if err := owner.call("POST", "/devices", camera, nil); !hasCode(err, "certificate_not_trusted") {
		t.Errorf("another fingerprint: %v", err)
	}
	camera["certificate_sha256"] = fingerprint
	var one deviceAnswer
	owner.must("POST", "/devices", camera, &one)
	if got := describeStatus(t, s.rtsp, "/"+one.ID+"/1", owner.streamKey()); got != 200 {
		t.Errorf("it is answered %d", got)
	}
}
