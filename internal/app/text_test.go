package app

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{2,16}$`)

// FuzzNormaliseAddress: an address has one spelling, or is refused with a reason
// that does not repeat it.
func FuzzNormaliseAddress(f *testing.F) {
	f.Add("email", " Alice@Example.COM ")
	f.Add("email", "zoe\u0308@m\u00fcnchen.de")
	f.Add("email", "\u212a@xn--mnchen-3ya.de")
	f.Add("email", "a\u200b@b.c")
	f.Add("phone", "0049 30 12345678")
	f.Add("email", `"a b"@b.c`)
	f.Add("email", "=?utf-8?q?a?=@b.c")
	f.Add("phone", "+86 189 6919 0000")
	f.Add("phone", "+8618969190000;ext=1")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, kind, raw string) {
		address, reason := normaliseAddress(kind, raw)
		if (address == "") == (reason == "") {
			t.Fatalf("%q is %q because %q", raw, address, reason)
		}
		if reason != "" {
			return
		}
		if again, reason := normaliseAddress(kind, address); again != address {
			t.Fatalf("%q became %q became %q: %s", raw, address, again, reason)
		}
		switch {
		case kind == phoneKind && !e164.MatchString(address):
			t.Fatalf("%q became %q", raw, address)
		case kind == emailKind && (len(address) > maxEmail || strings.Count(address, "@") < 1 || address != strings.ToLower(address)):
			t.Fatalf("%q became %q", raw, address)
		}
	})
}

// FuzzCameraAddress: what is kept of a device's address leads to the host that
// was given, holds no credentials, and its sub stream is on the same host.
func FuzzCameraAddress(f *testing.F) {
	f.Add("rtsp://192.0.2.1/Streaming/Channels/101", "", "")
	f.Add("rtsp://viewer:p%40ss@192.0.2.1:8554/Streaming/Channels/101?a=b%2Fc", "viewer", "p@ss")
	f.Add("rtsps://u:p@[2001:db8::1]:322/a%2Fb", "", "")
	f.Add("rtsp://u:p@ss@h/live", "", "")
	f.Add("http://u:p@192.0.2.1/", "", "")
	f.Fuzz(func(t *testing.T, raw, username, password string) {
		given := NewDevice{Name: "Door", RTSPURL: raw, Username: username, Password: password}
		found := faults{}
		d := given.withCredentials(found)
		d.check(found)
		if found.err() != nil || raw == "" {
			return
		}
		before, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q was taken: %v", raw, err)
		}
		kept := d.withChannels().camera()
		for _, address := range []string{kept.Channels[0].MainURL, kept.Channels[0].SubURL} {
			after, err := url.Parse(address)
			if address == "" {
				continue
			}
			if err != nil || after.User != nil || after.Host != before.Host || after.Scheme != before.Scheme || after.RawQuery != before.RawQuery {
				t.Fatalf("%q became %q: %v", raw, address, err)
			}
		}
		if main := kept.Channels[0].MainURL; before.User == nil && main != raw || kept.Channels[0].SubURL == main {
			t.Fatalf("%q became %q", raw, main)
		}
		if pass, has := before.User.Password(); has && kept.Password != pass || username != "" && kept.Username != username {
			t.Fatalf("%q with %q and %q is %q and %q", raw, username, password, kept.Username, kept.Password)
		}
	})
}

// FuzzUnseen: text that is taken holds nothing that changes the direction of
// writing, and joiners and selectors only after something that is seen.
func FuzzUnseen(f *testing.F) {
	for _, seed := range []string{"Front door", "می\u200cخواهم", "👨\u200d👩\u200d👧", "❤️", "a\u202eb", "\u200d", "1️⃣", "葛\U000e0100"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) || unseen(s, lenient) != "" {
			return
		}
		visible := false
		for _, r := range s {
			hidden := isJoiner(r) || isSelector(r)
			if hidden && !visible || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Cf, r) && !hidden || unicode.IsControl(r) {
				t.Fatalf("%+q is taken", s)
			}
			visible = visible || !hidden
		}
		if unseen(s, strict) == "" && strings.ContainsFunc(s, func(r rune) bool { return isJoiner(r) || isSelector(r) }) {
			t.Fatalf("%+q is taken in an address", s)
		}
	})
}
