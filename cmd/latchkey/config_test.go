package main

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// configured runs `latchkey serve` on settings that cannot be right, so that it
// ends by telling what it took them for.
func configured(t *testing.T, env map[string]string, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	for name, value := range env {
		t.Setenv(name, value) // kong reads the environment itself
	}
	code := run(context.Background(), args, lookup, streams{in: strings.NewReader(""), out: &out, err: &out})
	return code, out.String()
}

func TestEveryFaultIsToldAtOnce(t *testing.T) {
	code, said := configured(t, nil, "serve", "--http", "nowhere", "--rtsp", "x:y:z", "--metrics", "on", "--eventstore", "unix://relative", "--database", "mysql://x",
		"--max-staleness", "soon", "--session-ttl", "1ns", "--camera-nets", "10.0.0.0/33", "--rtsps", "127.0.0.1:0", "--rtsp-multicast", "192.0.2.0/24",
		"--webrtc", "port", "--webrtc-address", "0.0.0.0")
	if code != 2 {
		t.Errorf("exit status %d", code)
	}
	for _, flag := range []string{"--http", "--rtsp", "--metrics", "--eventstore", "--database", "--max-staleness", "--session-ttl", "--camera-nets", "--rtsps", "--rtsp-multicast", "--webrtc", "--webrtc-address"} {
		if !strings.Contains(said, flag+":") {
			t.Errorf("the fault of %s is not told:\n%s", flag, said)
		}
	}
}

func TestFlagWinsOverEnvironmentOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "latchkey.yaml")
	if err := os.WriteFile(file, []byte("max-staleness: file\nsession-ttl: file\nclose-after: file\ncamera-nets: [one, two]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"LATCHKEY_CONFIG": file, "LATCHKEY_MAX_STALENESS": "env", "LATCHKEY_SESSION_TTL": "env"}
	_, said := configured(t, env, "serve", "--max-staleness", "flag")
	for _, want := range []string{`--max-staleness: "flag"`, `--session-ttl: "env"`, `--close-after: "file"`, `--camera-nets: "one"`, `--camera-nets: "two"`} {
		if !strings.Contains(said, want) {
			t.Errorf("want %s in:\n%s", want, said)
		}
	}
}

// TestEveryFaultOfEverySourceIsToldAtOnce: a misspelt key of the file, wrong
// values of the file, of the environment and of flags, in one go.
func TestEveryFaultOfEverySourceIsToldAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "latchkey.yaml")
	if err := os.WriteFile(file, []byte("htttp: x\nsession-ttl: never\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"LATCHKEY_LOG_LEVEL": "loud", "LATCHKEY_CLOSE_AFTER": "soon", "LATCHKEY_TRUSTED_PROXIES": "10.0.0.0/99"}
	code, said := configured(t, env, "serve", "--config", file, "--max-staleness", "-1s", "--log-format", "xml")
	if code != 2 {
		t.Errorf("exit status %d", code)
	}
	for _, want := range []string{`"htttp" is not a setting`, "--session-ttl:", "--log-level:", "--close-after:", "--trusted-proxies:", "--max-staleness: -1s is out of bounds", "--log-format:"} {
		if !strings.Contains(said, want) {
			t.Errorf("%s is not told:\n%s", want, said)
		}
	}
	code, said = configured(t, map[string]string{"LATCHKEY_SESSION_TTL": "never"}, "serve", "--config", file, "--no-such-flag")
	if code != 2 || !strings.Contains(said, "no-such-flag") || !strings.Contains(said, `"htttp"`) || !strings.Contains(said, "--session-ttl:") {
		t.Errorf("exit status %d beside an unknown flag:\n%s", code, said)
	}
}

// TestNothingIsNotEverything: a list of networks that is empty is a mistake, not
// leave to dial everywhere.
func TestNothingIsNotEverything(t *testing.T) {
	file := filepath.Join(t.TempDir(), "latchkey.yaml")
	for name, c := range map[string]struct {
		text string
		env  map[string]string
		args []string
	}{
		"a flag":        {"", nil, []string{"--camera-nets", ""}},
		"commas":        {"", nil, []string{"--camera-nets", " , "}},
		"environment":   {"", map[string]string{"LATCHKEY_CAMERA_NETS": ""}, nil},
		"an empty list": {"camera-nets: []\n", nil, nil},
		"null":          {"camera-nets:\n", nil, nil},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"serve", "--config", file, "--session-ttl", "never"}, c.args...)
		if code, said := configured(t, c.env, args...); code != 2 || !strings.Contains(said, "camera-nets") {
			t.Errorf("%s: exit status %d, %s", name, code, said)
		}
	}
}

// TestNamesOfTheEnvironmentMeanOneThing: flags that share a variable are the same
// flag, and those that only share a name have one each.
func TestNamesOfTheEnvironmentMeanOneThing(t *testing.T) {
	var c cli
	parser, err := kong.New(&c, kong.DefaultEnvars("LATCHKEY"), kong.BindTo(t.Context(), (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	meaning := map[string]string{}
	users := map[string][]string{}
	var visit func(*kong.Node)
	visit = func(n *kong.Node) {
		for _, flag := range n.Flags {
			for _, name := range flag.Envs {
				what := flag.Name + " " + flag.PlaceHolder + " " + flag.Target.Kind().String()
				if there, ok := meaning[name]; ok && there != what {
					t.Errorf("%s is %q and %q", name, there, what)
				}
				meaning[name] = what
				users[name] = append(users[name], n.FullPath())
			}
		}
		for _, child := range n.Children {
			visit(child)
		}
	}
	visit(parser.Model.Node)
	for _, name := range []string{"LATCHKEY_HTTP", "LATCHKEY_RTSP", "LATCHKEY_DATA", "LATCHKEY_DEVICE", "LATCHKEY_TO"} {
		for _, user := range users[name] {
			if user = user[strings.LastIndex(user, " ")+1:]; user == "camera" || user == "node" || user == "replay" && name != "LATCHKEY_DATA" {
				t.Errorf("%s reaches the command %s", name, user)
			}
		}
	}
	for _, name := range []string{"LATCHKEY_CAMERA_HTTP", "LATCHKEY_CAMERA_RTSP", "LATCHKEY_NODE_DATA", "LATCHKEY_AUDIT_DEVICE", "LATCHKEY_HTTP", "LATCHKEY_TRUSTED_PROXIES"} {
		if len(users[name]) == 0 {
			t.Errorf("no command has %s", name)
		}
	}
}

// TestHTTPSIsConfigured: where the certificate comes from is said once, and completely.
func TestHTTPSIsConfigured(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--https nowhere", "--https:"},
		{"--https-cert c.pem --https-key k.pem", "--https-cert: it goes together with --https"},
		{"--https :1 --https-cert c.pem", "--https-cert: it goes together with --https-key"},
		{"--https :1 --https-key k.pem", "--https-cert: it goes together with --https-key"},
		{"--acme door.example.com", "--acme: it goes together with --https"},
		{"--https :1 --https-cert c.pem --https-key k.pem --acme door.example.com", "--acme: it does not go together"},
		{"--https :1 --acme door.example.com --https-names nas", "--https-names: it is for"},
		{"--https :1 --acme nas", "not a domain name"},
		{"--https :1 --acme *.example.com", "not a domain name"},
		{"--https :1 --acme 192.0.2.1", "not a domain name"},
		{"--https :1 --acme-directory https://ca.example/dir", "--acme-directory: it goes together with --acme"},
		{"--https :1 --acme door.example.com --acme-directory http://ca.example/dir", "not an https address"},
		{"--https :1 --https-names a_b", "--https-names:"},
		{"--https :1 --https-names fe80::1%eth0", "--https-names:"},
		{"--rtsps :1", "--rtsps: it goes together"},
		{"--rtsps :1 --rtsps-key k.pem --https :2", "--rtsps: it goes together"},
	} {
		if code, said := configured(t, nil, append([]string{"serve", "--data", t.TempDir(), "--session-ttl", "never"}, strings.Fields(c.args)...)...); code != 2 || !strings.Contains(said, c.want) {
			t.Errorf("%s: exit status %d, %s", c.args, code, said)
		}
	}
	file := filepath.Join(t.TempDir(), "latchkey.yaml")
	if err := os.WriteFile(file, []byte("https: file\nacme: [a.example.com, b]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, said := configured(t, nil, "serve", "--config", file); !strings.Contains(said, `--https: "file"`) || !strings.Contains(said, `--acme: "b"`) {
		t.Errorf("from the file: %s", said)
	}
	if _, said := configured(t, map[string]string{"LATCHKEY_HTTPS": "env"}, "serve", "--config", file); !strings.Contains(said, `--https: "env"`) {
		t.Errorf("from the environment: %s", said)
	}
	good := Secure{HTTPS: "0.0.0.0:443", HTTPSNames: "NAS.example.com., 192.0.2.1 ::ffff:192.0.2.2"}
	o := good.checkHTTPS(func(flag, format string, args ...any) { t.Errorf("--%s: "+format, append([]any{flag}, args...)...) })
	if got := strings.Join(o.names, " "); got != "nas.example.com 192.0.2.1 192.0.2.2" {
		t.Errorf("the names are %s", got)
	}
	o = Secure{HTTPS: ":443", ACME: "Türen.example, b.example.com b.example.com"}.checkHTTPS(func(flag, format string, args ...any) { t.Errorf("--%s: "+format, append([]any{flag}, args...)...) })
	if got := strings.Join(o.acme, " "); got != "xn--tren-0ra.example b.example.com" {
		t.Errorf("the domains are %s", got)
	}
}

func TestJoinNegatives(t *testing.T) {
	got := joinNegatives([]string{"serve", "--max-staleness", "-1s", "--a=b", "-2", "--", "-3", "--x", "-y"})
	if want := "serve|--max-staleness=-1s|--a=b|-2|--|-3|--x|-y"; strings.Join(got, "|") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestAccountCreateSaysWhichRuleIsBroken: an operator reads which rule the
// password breaks.
func TestAccountCreateSaysWhichRuleIsBroken(t *testing.T) {
	dir := t.TempDir()
	for password, want := range map[string]string{"short": "the password is shorter than 8 characters", "password1": "the password is one that many people use"} {
		var out bytes.Buffer
		args := []string{"account", "create", "--data", dir, "--email", "olga@example.com", "--name", "Olga"}
		code := run(t.Context(), args, func(string) (string, bool) { return "", false }, streams{in: strings.NewReader(password + "\n"), out: &out, err: &out})
		if code != 2 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit status %d, %s", password, code, out.String())
		}
	}
}

func TestBadFiles(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown keys": {"htttp: x\nrtsp: 127.0.0.1:1\nport: 3\n", `"port" is not a setting`},
		"a map":        {"http: {port: 1}\n", "http: want a value"},
		"no YAML":      {"{{{\n", "reading the configuration"},
	} {
		file := filepath.Join(t.TempDir(), "latchkey.yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, said := configured(t, nil, "serve", "--config", file)
		if code != 2 || !strings.Contains(said, c.want) {
			t.Errorf("%s: exit status %d, %s", name, code, said)
		}
	}
	if code, said := configured(t, nil, "serve", "--config=/nowhere/latchkey.yaml"); code != 2 || !strings.Contains(said, "/nowhere/latchkey.yaml") {
		t.Errorf("no file: exit status %d, %s", code, said)
	}
	for _, path := range []string{pipe(t, t.TempDir(), "latchkey.yaml"), t.TempDir()} {
		if code, said := configured(t, nil, "serve", "--config", path); code != 2 || !strings.Contains(said, path+": it is not a regular file") {
			t.Errorf("%s: exit status %d, %s", path, code, said)
		}
	}
}

func TestPasswordsOfConnectionStringsAreNotTold(t *testing.T) {
	code, said := configured(t, nil, "serve", "--eventstore", "http://admin:hunter2@host", "--database", "mysql://admin:hunter2@host")
	if code != 2 || strings.Contains(said, "hunter2") {
		t.Errorf("exit status %d, %s", code, said)
	}
	if got := redacted("esdb://admin:hunter2@host:2113"); strings.Contains(got, "hunter2") || !strings.Contains(got, "host:2113") {
		t.Errorf("redacted: %s", got)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"audit", "replay", "--help"}, {"demo", "--help"}} {
		if code, said := configured(t, nil, args...); code != 0 || !strings.Contains(said, "Usage: latchkey") {
			t.Errorf("%v: exit status %d, %s", args, code, said)
		}
	}
	if code, said := configured(t, nil, "sevre"); code != 2 || !strings.Contains(said, "sevre") {
		t.Errorf("a wrong command: exit status %d, %s", code, said)
	}
}

// TestEmptyOptions: an option that is given and empty does not mean everything, nor
// nothing.
func TestEmptyOptions(t *testing.T) {
	for _, c := range []struct {
		flag, variable string
		command        []string
	}{
		{"--https", "LATCHKEY_HTTPS", []string{"serve", "--data", t.TempDir()}},
		{"--acme", "LATCHKEY_ACME", []string{"serve", "--data", t.TempDir()}},
		{"--metrics", "LATCHKEY_METRICS", []string{"serve", "--data", t.TempDir()}},
		{"--encrypt-to", "LATCHKEY_ENCRYPT_TO", []string{"backup", t.TempDir()}},
		{"--passphrase-file", "LATCHKEY_PASSPHRASE_FILE", []string{"backup", t.TempDir()}},
		{"--vault-key", "LATCHKEY_VAULT_KEY", []string{"backup", t.TempDir()}},
		{"--to", "LATCHKEY_RESTORE_TO", []string{"restore", "x.backup"}},
		{"--share", "LATCHKEY_AUDIT_SHARE", []string{"audit", "replay"}},
		{"--device", "LATCHKEY_AUDIT_DEVICE", []string{"audit", "replay"}},
		{"--account", "LATCHKEY_AUDIT_ACCOUNT", []string{"audit", "replay"}},
		{"--from", "LATCHKEY_AUDIT_FROM", []string{"audit", "replay"}},
		{"--to", "LATCHKEY_AUDIT_TO", []string{"audit", "replay"}},
	} {
		for name, given := range map[string]func(t *testing.T) (int, string){
			"a word": func(t *testing.T) (int, string) { return configured(t, nil, append(c.command, c.flag, "")...) },
			"a sign": func(t *testing.T) (int, string) { return configured(t, nil, append(c.command, c.flag+"=")...) },
			"environment": func(t *testing.T) (int, string) {
				return configured(t, map[string]string{c.variable: ""}, c.command...)
			},
		} {
			t.Run(c.command[0]+" "+c.flag+" "+name, func(t *testing.T) {
				if code, said := given(t); code != 2 || !strings.Contains(said, c.flag+": is empty") {
					t.Errorf("exit status %d, %s", code, said)
				}
			})
		}
	}
}

func TestWhichCamerasMayBeDialled(t *testing.T) {
	narrow := options{cameraNets: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("169.254.0.0/16")}}
	for addr, want := range map[string][2]bool{ // by default, narrowed
		"192.168.1.9":        {true, true},
		"::ffff:192.168.1.9": {true, true},
		"10.0.0.1":           {true, false},
		"127.0.0.1":          {true, false},
		"2001:db8::1":        {true, false},
		"169.254.169.254":    {false, true},
		"fe80::1":            {false, false},
		"0.0.0.0":            {false, false},
		"224.0.0.1":          {false, false},
		"255.255.255.255":    {false, false},
		"::1":                {true, false},
		"100.100.100.200":    {false, false}, // metadata of a cloud
		"192.0.0.192":        {false, false},
		"168.63.129.16":      {false, false},
		"0.1.2.3":            {false, false},
		"240.0.0.1":          {false, false},
		"198.18.0.1":         {false, false},
		"64:ff9b::a9fe:a9fe": {false, false}, // a link-local address through NAT64
		"64:ff9b:1::1":       {false, false},
		"::a9fe:a9fe":        {false, false},
		"2002:a9fe:a9fe::1":  {false, false},
		"2001:0:1::1":        {false, false},
		"fd00:ec2::254":      {false, false},
		"fd00:ec2::25":       {true, false},
	} {
		a := netip.MustParseAddr(addr)
		if got := (options{}).mayDial(a) == nil; got != want[0] {
			t.Errorf("by default %s: %v", addr, got)
		}
		if got := narrow.mayDial(a) == nil; got != want[1] {
			t.Errorf("narrowed %s: %v", addr, got)
		}
	}
}

// TestLoopbackIsForThisMachine: cameras on loopback are dialled where only this
// machine reaches the API, or where the operator names the network.
func TestLoopbackIsForThisMachine(t *testing.T) {
	for _, c := range []struct {
		http, proxies, nets string
		want, refused       bool
	}{
		{"127.0.0.1:8080", "", "any", true, false},
		{"localhost:8080", "", "any", true, false},
		{"[::1]:8080", "", "any", true, false},
		{"0.0.0.0:8080", "", "any", false, true},
		{":8080", "", "any", false, true},
		{"[::]:8080", "", "any", false, true},
		{"192.0.2.1:8080", "", "any", false, true},
		{"127.0.0.1:8080", "127.0.0.1", "any", false, true},
		{"127.0.0.1:8080 0.0.0.0:8443", "", "any", false, true},
		{"127.0.0.1:8080 127.0.0.1:8443", "", "any", true, false},
		{"0.0.0.0:8080", "10.0.0.1", "127.0.0.0/8,::1,192.168.0.0/16", true, false},
		{"127.0.0.1:8080", "", "192.168.0.0/16", false, false},
	} {
		plain, secure, _ := strings.Cut(c.http, " ")
		o, err := settings{
			Data: "data", HTTP: plain, Secure: Secure{HTTPS: secure}, RTSP: "127.0.0.1:8554", Eventstore: "embedded", Database: "sqlite", MaxStaleness: "5s", SessionTTL: "1h",
			CloseAfter: "10s", MemoryLimit: "auto", CameraNets: c.nets, TrustedProxies: c.proxies, Logging: Logging{LogLevel: "info", LogFormat: "text"},
		}.check()
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
			if got := o.mayDial(netip.MustParseAddr(addr)) == nil; got != c.want {
				t.Errorf("%+v: %s may be dialled: %v", c, addr, got)
			}
		}
		if o.mayDial(netip.MustParseAddr("192.168.1.9")) != nil {
			t.Errorf("%+v: a camera in the house may not be dialled", c)
		}
		if o.refusesLoopback() != c.refused {
			t.Errorf("%+v: it is said that loopback is refused: %v", c, o.refusesLoopback())
		}
	}
}

// TestConfigurationWithAPassword: one that others may read is refused, and not for
// anything else.
func TestConfigurationWithAPassword(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.yaml")
	for text, secret := range map[string]bool{
		"database: postgres://latchkey:secret@db/latchkey\n":            true,
		"eventstore: esdb://admin:changeit@es:2113\n":                   true,
		"database: postgres://latchkey:sec#ret%@db/latchkey\n":          true,
		"database: postgres://latchkey@db/latchkey?password=secret\n":   true,
		"database: postgres://latchkey@db/latchkey\nhttp: 0.0.0.0:80\n": false,
	} {
		for _, mode := range []os.FileMode{0o600, 0o640, 0o604} {
			if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
				t.Fatal(err)
			}
			_, err := readConfigFile([]string{"--config", path}, func(string) (string, bool) { return "", false })
			if refused := err != nil; refused != (secret && mode != 0o600) {
				t.Errorf("%q with mode %v: %v", text, mode, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		}
	}
}
