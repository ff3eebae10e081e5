package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// certificateIn writes a certificate with its key, and returns the files.
func certificateIn(t *testing.T, dir, name string, until time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, DNSNames: []string{name}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: raw}, key: {Type: "EC PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// doctorFor returns a doctor of a service on a folder of its own, and on free ports.
func doctorFor(t *testing.T, change func(*settings)) *doctor {
	t.Helper()
	s, err := storage{Data: t.TempDir(), Eventstore: "embedded", Database: "sqlite"}.options()
	if err != nil {
		t.Fatal(err)
	}
	set := s.settings
	set.HTTP, set.RTSP, set.WebRTC, set.Metrics = freeAddr(t), freeAddr(t), freeAddr(t), metricsOff
	set.Verification = off
	change(&set)
	o, err := set.check()
	if err != nil {
		t.Fatal(err)
	}
	return &doctor{o: o, now: time.Now, free: freeIn}
}

// TestDoctorFinds: each fault is found, by its check, and says what to do.
func TestDoctorFinds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	far, past := time.Now().Add(90*24*time.Hour), time.Now().Add(-time.Hour)
	cert, key := certificateIn(t, dir, "good.example.com", far)
	otherCert, otherKey := certificateIn(t, dir, "other.example.com", far)
	oldCert, oldKey := certificateIn(t, dir, "old.example.com", past)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	closed := freeAddr(t)
	secure := func(cert, key string) func(*settings) {
		return func(s *settings) { s.HTTPS, s.HTTPSCert, s.HTTPSKey = freeAddr(t), cert, key }
	}
	for name, c := range map[string]struct {
		change func(*settings)
		also   func(*doctor)
		check  string
		state  state
		text   string
	}{
		"nothing":                 {func(*settings) {}, nil, "ports", fine, "is free"},
		"a taken port":            {func(s *settings) { s.HTTP = taken.Addr().String() }, nil, "ports", problem, "--http"},
		"a taken port for RTSP":   {func(s *settings) { s.RTSP = taken.Addr().String() }, nil, "ports", problem, "--rtsp"},
		"a taken port for WebRTC": {func(s *settings) { s.WebRTC = udp.LocalAddr().String() }, nil, "ports", problem, "--webrtc"},
		"an address of others":    {func(s *settings) { s.RTSP = "192.0.2.1:8554" }, nil, "ports", problem, "192.0.2.1"},
		"a good certificate":      {secure(cert, key), nil, "tls", fine, "good.example.com"},
		"nobody trusts it":        {secure(cert, key), nil, "tls", warning, "does not trust"},
		"another key":             {secure(cert, otherKey), nil, "tls", problem, "does not match"},
		"an expired certificate":  {secure(oldCert, oldKey), nil, "tls", problem, "old.example.com"},
		"one that ends soon":      {secure(otherCert, otherKey), func(d *doctor) { d.now = func() time.Time { return far.Add(-24 * time.Hour) } }, "tls", warning, "other.example.com"},
		"a missing certificate":   {secure(filepath.Join(dir, "none"), key), nil, "tls", problem, "no such file"},
		"an own authority":        {func(s *settings) { s.HTTPS = freeAddr(t) }, nil, "tls", fine, "first start"},
		"an authority of ACME that is away": {func(s *settings) {
			s.HTTPS, s.ACME, s.ACMEDirectory = freeAddr(t), "cam.example.com", "https://"+closed+"/dir"
		}, nil, "tls", problem, "cannot be asked"},
		"no live view":               {func(s *settings) { s.WebRTC = off }, nil, "candidates", warning, "off"},
		"live view here alone":       {func(s *settings) { s.HTTP, s.WebRTC = everywhere(freeAddr(t)), "127.0.0.1:0" }, nil, "candidates", problem, "127.0.0.1"},
		"behind a NAT":               {func(s *settings) { s.TrustedProxies, s.WebRTC, s.WebRTCAddress = "192.0.2.1", "0.0.0.0:0", "10.1.2.3" }, nil, "candidates", "", "10.1.2.3"},
		"a log that is away":         {func(s *settings) { s.Eventstore = "esdb://" + closed + "?tls=false" }, nil, "event store", problem, "answer"},
		"a lost log":                 {func(s *settings) { put(t, s.Data, "vault.db", "SQLite format 3\x00") }, nil, "event store", problem, "is missing"},
		"a database that is away":    {func(s *settings) { s.Database = "postgres://latchkey:pa55@" + closed + "/latchkey?sslmode=disable" }, nil, "database", problem, "postgres://"},
		"a damaged database":         {func(s *settings) { put(t, s.Data, "projections.db", "this is a text, not a database") }, nil, "database", problem, "projections.db is not"},
		"a folder for a database":    {func(s *settings) { folder(t, s.Data, "vault.db") }, nil, "database", problem, "vault.db: it is not a regular file"},
		"a pipe for a certificate":   {secure(pipe(t, dir, "pipe.pem"), key), nil, "tls", problem, "it is not a regular file"},
		"a pipe for the authority":   {func(s *settings) { s.HTTPS = closed; pipe(t, s.Data, authorityFile) }, nil, "tls", problem, "it is not a regular file"},
		"a folder open to others":    {func(s *settings) { open(t, s.Data) }, nil, "data folder", warning, "open to other users"},
		"no folder":                  {func(s *settings) { s.Data = put(t, s.Data, "file", "x") }, nil, "data folder", problem, "is not a folder"},
		"a full disk":                {func(*settings) {}, func(d *doctor) { d.free = func(string) (uint64, error) { return 5 << 20, nil } }, "disk", problem, "5 MiB"},
		"a disk nobody can ask":      {func(*settings) {}, func(d *doctor) { d.free = func(string) (uint64, error) { return 0, errors.New("no disk") } }, "disk", warning, "no disk"},
		"a mail server that is away": {func(s *settings) { s.Mail = "smtp://" + closed + "?from=a@example.com&tls=off" }, nil, "messages", problem, "--mail"},
		"a hook that is there": {func(s *settings) {
			s.SMSHook, s.SMSHookSecret = "http://"+taken.Addr().String()+"/", "0123456789abcdef"
		}, nil, "messages", fine, "--sms-hook"},
		"no codes": {func(s *settings) { s.Verification = required }, nil, "configuration", warning, "nothing sends codes"},
		"no HTTPS": {func(s *settings) { s.HTTP, s.WebRTC = everywhere(freeAddr(t)), "" }, nil, "configuration", warning, "plain HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			d := doctorFor(t, c.change)
			if c.also != nil {
				c.also(d)
			}
			list := d.examine(t.Context())
			if !slices.ContainsFunc(list, func(f finding) bool {
				return f.Check == c.check && (c.state == "" || f.State == c.state) && strings.Contains(f.Text, c.text) && (f.Do == "") == (f.State == fine)
			}) {
				t.Errorf("%q is not found: %+v", c.text, list)
			}
			for _, f := range list {
				if strings.Contains(f.Text, "pa55") {
					t.Errorf("a secret is printed: %s", f.Text)
				}
			}
		})
	}
}

func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func folder(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
}

// pipe makes a pipe to which nobody writes.
func pipe(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestDoctorJudges: what the kernel says.
func TestDoctorJudges(t *testing.T) {
	for _, c := range []struct {
		got  finding
		want state
	}{
		{clockFinding(0, 0, nil), fine}, {clockFinding(5, 0, nil), warning}, {clockFinding(0, 0x40, nil), warning}, {clockFinding(0, 0, os.ErrPermission), fine},
		{descriptorsFinding(65536, nil), fine}, {descriptorsFinding(1024, nil), warning}, {descriptorsFinding(0, os.ErrPermission), warning},
	} {
		if c.got.State != c.want {
			t.Errorf("%+v, want %s", c.got, c.want)
		}
	}
}

// TestDoctorOfARunningService: it runs beside the service, holds its ports for the service's,
// changes nothing, and its exit status says whether something is wrong.
func TestDoctorOfARunningService(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := serve(t, binary, data)
	args := []string{"doctor", "--json", "--data", data, "--http", s.http, "--rtsp", s.rtsp, "--metrics", s.metrics}
	examine := func(more ...string) (list []finding, exit int) {
		t.Helper()
		c := exec.Command(binary, append(args, more...)...)
		c.Env = append(os.Environ(), "LATCHKEY_VERIFICATION=off")
		out, err := c.Output()
		var ended *exec.ExitError
		if err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		lines := json.NewDecoder(bytes.NewReader(out))
		for lines.More() {
			var f finding
			if err := lines.Decode(&f); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			list = append(list, f)
		}
		return list, c.ProcessState.ExitCode()
	}
	list, exit := examine()
	if exit != 0 || !slices.Contains(list, ok("service", "it runs and is ready")) || !slices.ContainsFunc(list, func(f finding) bool { return f.Check == "event store" && strings.HasSuffix(f.Text, "answers") }) {
		t.Errorf("exit status %d: %+v", exit, list)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if list, exit := examine("--rtsp", "192.0.2.1:8554"); exit != 1 {
		t.Errorf("an address of others: exit status %d: %+v", exit, list)
	}
	s.stop(t)
	if list, exit := examine("--http", taken.Addr().String()); exit != 1 || !slices.Contains(list, ok("service", "it does not run")) {
		t.Errorf("exit status %d: %+v", exit, list)
	}
}
