package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// doorCertificate writes a certificate of 127.0.0.1 and its key.
func doorCertificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestACameraPublishesToTheDoor: ffmpeg is a camera behind NAT, which publishes within TLS
// to a device that has no address, under a key that its owner made; a recipient watches it
// within TLS, until the key is revoked.
func TestACameraPublishesToTheDoor(t *testing.T) {
	t.Parallel()
	certFile, keyFile := doorCertificate(t)
	secure := freeAddr(t)
	s := serve(t, binary, t.TempDir(), "--rtsps", secure, "--rtsps-cert", certFile, "--rtsps-key", keyFile, "--device-proof", "required")
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	var device struct{ ID string }
	owner.must("POST", "/devices", map[string]any{"name": "Barn", "published": true}, &device)
	rita.accept(owner.share(rita, device.ID, "live_view"), device.ID)

	ask := map[string]any{"device": device.ID, "publish_channel": 1, "label": "barn"}
	if err := rita.call("POST", "/stream-keys", ask, nil); !hasCode(err, "not_the_owner") {
		t.Errorf("a recipient asks for a publishing key: %v", err)
	}
	for what, bad := range map[string]map[string]any{
		"no device": {"publish_channel": 1}, "no channel": {"device": device.ID, "publish_channel": 600}, "another's channel": {"device": device.ID, "publish_channel": 7},
	} {
		if err := owner.call("POST", "/stream-keys", bad, nil); err == nil {
			t.Errorf("a publishing key with %s was made", what)
		}
	}
	var key struct {
		Name, Secret   string
		PublishChannel int `json:"publish_channel"`
	}
	owner.must("POST", "/stream-keys", ask, &key)
	var list struct {
		Items []struct {
			Name           string
			PublishChannel int `json:"publish_channel"`
		}
	}
	owner.must("GET", "/stream-keys", nil, &list)
	if len(list.Items) != 1 || list.Items[0].Name != key.Name || list.Items[0].PublishChannel != 1 || key.PublishChannel != 1 {
		t.Errorf("the keys are %+v; made was %+v", list.Items, key)
	}

	at := func(key string) string {
		user, secret, _ := strings.Cut(key, ":")
		return (&url.URL{Scheme: "rtsps", User: url.UserPassword(user, secret), Host: secure, Path: "/" + device.ID + "/1"}).String()
	}
	camera := newProcess("ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=15", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15",
		"-f", "rtsp", "-rtsp_transport", "tcp", at(key.Name+":"+key.Secret))
	camera.launch(t)
	ritas := rita.streamKey()
	watch := func(url string) error {
		return exec.CommandContext(t.Context(), "timeout", "20", "ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-read_intervals", "%+#20", "-show_entries", "packet=size", "-of", "csv", url).Run()
	}
	eventually(t, "rita sees what is published", func() bool {
		if camera.ended() {
			t.Fatal(camera.said())
		}
		return watch(at(ritas)) == nil
	})
	if watch(at(key.Name+":"+key.Secret)) == nil {
		t.Error("a publishing key shows what is published")
	}
	owner.must("DELETE", "/stream-keys/"+key.Name, nil, nil)
	eventually(t, "the publisher is ended", camera.ended)
	if watch(at(ritas)) == nil {
		t.Error("what was published is still seen")
	}
}
