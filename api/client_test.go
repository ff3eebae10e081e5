package api

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48"), netip.MustParsePrefix("127.0.0.1/32")}

func TestWhoseRequestItIs(t *testing.T) {
	for name, c := range map[string]struct {
		remote              string
		loose, standard     []string
		client, itsNetworks string
	}{
		"direct":                     {"192.0.2.7:4711", nil, nil, "192.0.2.7", "192.0.2.7"},
		"mapped":                     {"[::ffff:192.0.2.7]:4711", nil, nil, "192.0.2.7", "192.0.2.7"},
		"IPv6":                       {"[2001:db8:1:2:3::4]:80", nil, nil, "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		"with a zone":                {"[fe80::1%eth0]:80", nil, nil, "fe80::1", "fe80::/64"},
		"no address":                 {"@", nil, nil, "", "unknown"},
		"nobody is believed":         {"192.0.2.7:1", []string{"198.51.100.1"}, nil, "192.0.2.7", "192.0.2.7"},
		"a proxy":                    {"10.0.0.1:1", []string{"198.51.100.1"}, nil, "198.51.100.1", "198.51.100.1"},
		"a proxy that says nothing":  {"10.0.0.1:1", nil, nil, "10.0.0.1", "10.0.0.1"},
		"written by the client":      {"10.0.0.1:1", []string{"203.0.113.5, 198.51.100.1"}, nil, "198.51.100.1", "198.51.100.1"},
		"two proxies":                {"10.0.0.1:1", []string{"203.0.113.5, 198.51.100.1, 10.9.9.9"}, nil, "198.51.100.1", "198.51.100.1"},
		"two lines":                  {"10.0.0.1:1", []string{"198.51.100.1", "10.9.9.9"}, nil, "198.51.100.1", "198.51.100.1"},
		"only proxies":               {"10.0.0.1:1", []string{"10.2.2.2, 10.3.3.3"}, nil, "10.2.2.2", "10.2.2.2"},
		"with ports":                 {"10.0.0.1:1", []string{"198.51.100.1:8080, [2001:db8:ffff::1]:80"}, nil, "198.51.100.1", "198.51.100.1"},
		"IPv6 through a proxy":       {"[2001:db8:ffff::1]:1", []string{"2001:db8:1:2:3::4"}, nil, "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		"not an address":             {"10.0.0.1:1", []string{"198.51.100.1, unknown"}, nil, "10.0.0.1", "10.0.0.1"},
		"empty":                      {"10.0.0.1:1", []string{""}, nil, "10.0.0.1", "10.0.0.1"},
		"mapped and forwarded":       {"127.0.0.1:1", []string{"::ffff:198.51.100.1"}, nil, "198.51.100.1", "198.51.100.1"},
		"by the standard":            {"10.0.0.1:1", nil, []string{`for=203.0.113.5, for="198.51.100.1:80";proto=https;by=10.0.0.1`}, "198.51.100.1", "198.51.100.1"},
		"IPv6 by the standard":       {"10.0.0.1:1", nil, []string{`For="[2001:db8:1:2:3::4]:80"`}, "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		"hidden by the standard":     {"10.0.0.1:1", nil, []string{`for=198.51.100.1, for=_hidden`}, "10.0.0.1", "10.0.0.1"},
		"without for":                {"10.0.0.1:1", nil, []string{`for=198.51.100.1, proto=https`}, "10.0.0.1", "10.0.0.1"},
		"a comma in quotes":          {"10.0.0.1:1", nil, []string{`for=203.0.113.5;x="a, for=203.0.113.9", for=198.51.100.1`}, "198.51.100.1", "198.51.100.1"},
		"an open quote":              {"10.0.0.1:1", nil, []string{`for="203.0.113.5, for=198.51.100.1`}, "10.0.0.1", "10.0.0.1"},
		"for twice in an element":    {"10.0.0.1:1", nil, []string{`for=203.0.113.5;for=198.51.100.1`}, "10.0.0.1", "10.0.0.1"},
		"both agree":                 {"10.0.0.1:1", []string{"198.51.100.1"}, []string{"for=198.51.100.1"}, "198.51.100.1", "198.51.100.1"},
		"both, and they do not":      {"10.0.0.1:1", []string{"203.0.113.5"}, []string{"for=198.51.100.1"}, "10.0.0.1", "10.0.0.1"},
		"both, one of them nonsense": {"10.0.0.1:1", []string{"203.0.113.5"}, []string{"nonsense"}, "10.0.0.1", "10.0.0.1"},
	} {
		h := http.Header{}
		if c.loose != nil {
			h["X-Forwarded-For"] = c.loose
		}
		if c.standard != nil {
			h["Forwarded"] = c.standard
		}
		got := client(&http.Request{RemoteAddr: c.remote, Header: h}, proxies)
		if got.IsValid() != (c.client != "") || got.IsValid() && got.String() != c.client || network(got) != c.itsNetworks {
			t.Errorf("%s: %v of %s, want %s of %s", name, got, network(got), c.client, c.itsNetworks)
		}
	}
	many := strings.Repeat("10.1.1.1, ", 1000) + "10.2.2.2"
	if got := client(&http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"198.51.100.1, " + many}}}, proxies); got.String() != "10.1.1.1" {
		t.Errorf("a thousand hops lead to %v", got)
	}
}

// FuzzForwarded: the address is that of the connection, or one that stands in a
// header; without a trusted proxy it is always that of the connection.
func FuzzForwarded(f *testing.F) {
	f.Add("198.51.100.1, 10.1.1.1", "")
	f.Add("", `for="[2001:db8::1]:80";proto=http, for=10.1.1.1`)
	f.Add("198.51.100.1", "for=198.51.100.1")
	f.Add("", `for="a\"b"`)
	f.Add(",,", "=;,")
	f.Fuzz(func(t *testing.T, loose, standard string) {
		h := http.Header{}
		if loose != "" {
			h.Set("X-Forwarded-For", loose)
		}
		if standard != "" {
			h.Set("Forwarded", standard)
		}
		direct := &http.Request{RemoteAddr: "192.0.2.7:1", Header: h}
		if got := client(direct, proxies); got.String() != "192.0.2.7" {
			t.Fatalf("a client that is not a proxy is %v", got)
		}
		behind := &http.Request{RemoteAddr: "10.0.0.1:1", Header: h}
		got := client(behind, proxies)
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Fatalf("behind a proxy is %v", got)
		}
		hops, ok := forwarded(h)
		if !ok && got.String() != "10.0.0.1" {
			t.Fatalf("headers that say nothing give %v", got)
		}
		found := got.String() == "10.0.0.1"
		for _, hop := range hops {
			a, ok := parseHop(hop)
			found = found || ok && a == got
		}
		if !found {
			t.Fatalf("%v does not stand in %q", got, hops)
		}
	})
}
