package app

import (
	"strings"
	"testing"
)

// TestOneMailboxOneAddress: every spelling that mail brings to one mailbox is
// one address.
func TestOneMailboxOneAddress(t *testing.T) {
	for want, spellings := range map[string][]string{
		"alice@example.com": {
			"alice@example.com", " Alice@Example.COM\n", "ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", "alice@example。com", "ALICE@EXAMPLE.COM", "alice@exampl\u212f.com",
		},
		"zoë@example.com": {"zoë@example.com", "zoe\u0308@example.com", "ZOË@example.com", "ZOE\u0308@EXAMPLE.com"},
		"info@xn--mnchen-3ya.de": {
			"info@münchen.de", "info@mu\u0308nchen.de", "info@MÜNCHEN.de", "info@xn--mnchen-3ya.de", "Info@XN--MNCHEN-3YA.DE", "info@ｍünchen。de",
		},
		"straße@xn--strae-oqa.de": {"straße@straße.de", "Straße@Straße.de"},
		"kim@xn--fiq228c.com":     {"kim@中文.com", "\u212aim@中文.com"},
		"a+b@b_c.d":               {"a+b@b_c.d", "A+B@B_C.D"},
	} {
		for _, spelling := range spellings {
			if got, reason := normaliseAddress(emailKind, spelling); got != want {
				t.Errorf("%+q became %q (%s), want %q", spelling, got, reason, want)
			}
			if got := LoginName(spelling); got != "email:"+want {
				t.Errorf("the login %+q is %q, want %q", spelling, got, want)
			}
		}
	}
	for want, spellings := range map[string][]string{
		"+8618969190000": {"+8618969190000", "+86 189-6919 0000", "0086 18969190000", "＋８６ 189 6919 0000", "+86\u00a0189\u00a06919\u00a00000"},
		"+493012345678":  {"+493012345678", "0049 30 12345678", "+49 (0)30 12345678"},
	} {
		for _, spelling := range spellings {
			if got, reason := normaliseAddress(phoneKind, spelling); got != want {
				t.Errorf("%+q became %q (%s), want %q", spelling, got, reason, want)
			}
		}
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ kind, raw, says string }{
		"zero width space":     {emailKind, "alice\u200b@example.com", "invisible character (U+200B)"},
		"at the end":           {emailKind, "alice@example.com\ufeff", "invisible character (U+FEFF)"},
		"right-to-left":        {emailKind, "\u202ealice@example.com", "direction of writing (U+202E)"},
		"joiner":               {emailKind, "al\u200dice@example.com", "invisible character (U+200D)"},
		"joiner in the domain": {emailKind, "alice@exam\u200cple.com", "invisible character (U+200C)"},
		"soft hyphen":          {emailKind, "alice@exam\u00adple.com", "invisible character (U+00AD)"},
		"filler":               {emailKind, "alice\u3164@example.com", "invisible character (U+3164)"},
		"selector":             {emailKind, "alice\ufe0f@example.com", "invisible character (U+FE0F)"},
		"tag":                  {emailKind, "alice\U000e0041@example.com", "invisible character (U+E0041)"},
		"private use":          {emailKind, "alice\ue000@example.com", "private use (U+E000)"},
		"not assigned":         {emailKind, "alice\u0378@example.com", "not assigned (U+0378)"},
		"ligature":             {emailKind, "o\ufb03ce@example.com", "not an e-mail address"},
		"false punycode":       {emailKind, "a@xn--zzzzzzzzz99999999.de", "not an e-mail address"},
		"two directions":       {emailKind, "a@אb.com", "not an e-mail address"},
		"a space":              {emailKind, "a\u3000b@example.com", "not an e-mail address"},
		"two at signs":         {emailKind, "a＠b@example.com", "not an e-mail address"},
		"number, invisible":    {phoneKind, "\u202a+8618969190000\u202c", "direction of writing (U+202A)"},
		"number without plus":  {phoneKind, "8618969190000", "with + and the country code"},
		"a national number":    {phoneKind, "15012345678", "with + and the country code"},
		"a trunk prefix":       {phoneKind, "0170 1234567", "with + and the country code"},
		"no such country":      {phoneKind, "00 999 123456", "country code"},
	} {
		address, reason := normaliseAddress(c.kind, c.raw)
		if address != "" || !strings.Contains(reason, c.says) {
			t.Errorf("%s: %+q became %q because it %q; want %q", name, c.raw, address, reason, c.says)
		}
	}
}

func TestTextForPeople(t *testing.T) {
	for name, s := range map[string]string{
		"plain": "Front door", "accents": "Zoë’s Küche – 2. Stock", "Japanese": "玄関カメラ", "Arabic": "كاميرا الباب", "Persian with a joiner": "می\u200cخواهم",
		"Sinhala with a joiner": "ක\u0dca\u200dෂ", "Hindi": "क्\u200dष", "emoji": "🏠", "heart": "❤️", "family": "👨\u200d👩\u200d👧", "doctor": "👩🏽\u200d⚕️",
		"rainbow flag": "🏳️\u200d🌈", "flag": "🇩🇪", "key cap": "1️⃣", "shape of a name": "葛\U000e0100城",
	} {
		f := faults{}
		if f.text("name", s, maxName); f.err() != nil {
			t.Errorf("%s: %+q is refused: %v", name, s, f)
		}
	}
	for name, s := range map[string]string{
		"zero width space": "Front\u200bdoor", "right-to-left": "evil\u202etxt.exe", "mark": "a\u200e", "isolate": "\u2067a\u2069", "joiner": "a\u200db",
		"a joiner at the end": "می\u200c", "between scripts": "م\u200ca", "selector": "a\ufe0f", "a Han selector elsewhere": "a\U000e0100", "filler": "\u3164",
		"tag": "🏴\U000e0067", "line separator": "a\u2028b", "private use": "\uf8ff", "not assigned": "\u0378", "control": "a\tb", "byte order mark": "\ufeffa",
		"invisible plus": "a\u2064",
	} {
		f := faults{}
		if f.text("name", s, maxName); f["name"] == "" {
			t.Errorf("%s: %+q is taken", name, s)
		}
	}
}

// TestEveryTextIsChecked: no command takes an invisible character in a text.
func TestEveryTextIsChecked(t *testing.T) {
	w := newWorld(t)
	const bad = "a\u202eb"
	id := w.share(gives(w.cam, 1, 1))
	m := Meta{Account: w.alice}
	_, err := w.accounts.Register(ctx, Meta{}, Registration{Email: "x@example.com", Password: password, Name: bad})
	wantFields(t, err, "name")
	_, err = w.accounts.Register(ctx, Meta{}, Registration{Email: "x\u200b@example.com", Password: password, Name: "x"})
	wantFields(t, err, "email")
	_, err = w.devices.Add(ctx, m, NewDevice{Name: bad, Channels: []NewChannel{{Channel: 1, Name: bad, MainURL: "rtsp://192.0.2.1/"}}})
	wantFields(t, err, "channels[0].name", "name")
	_, err = w.shares.Save(ctx, m, NewShare{Email: "bob\u200b@example.com", Remark: bad})
	wantFields(t, err, "recipient.email", "remark")
	_, err = w.shares.Replace(ctx, m, id, bad, nil, nil)
	wantFields(t, err, "remark")
	_, err = w.keys.Add(ctx, m, NewStreamKey{Label: bad})
	wantFields(t, err, "label")
}

// earlier registers an account as it was before addresses were normalised as
// they are now.
func (w *world) earlier(email string) string {
	w.t.Helper()
	c, err := w.beginAnonymous(Meta{}, "register", email)
	if err != nil {
		w.t.Fatal(err)
	}
	spelling := strings.ToLower(email)
	r, err := w.accounts.register(ctx, applicant{
		command: c, kind: emailKind, address: spelling, name: "Earlier", password: password, login: w.vault.LoginHash(emailKind, spelling),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Account
}

// TestEarlierSpellings: an account of before is found by its own spelling and by
// the canonical one, keeps its address from others, and gets shares.
func TestEarlierSpellings(t *testing.T) {
	for name, c := range map[string]struct {
		registered string
		found      []string
	}{
		"a domain in Unicode":      {"Info@münchen.de", []string{"info@münchen.de", "INFO@MÜNCHEN.DE", "info@xn--mnchen-3ya.de", "info@mu\u0308nchen.de"}},
		"a decomposed name":        {"zoe\u0308@example.com", []string{"zoe\u0308@example.com", "zoë@example.com"}},
		"full width":               {"ａｌ@example.com", []string{"ａｌ@example.com"}},
		"an invisible character":   {"al\u200b@example.com", []string{"al\u200b@example.com"}},
		"what is no name any more": {"o\ufb03ce@example.com", []string{"o\ufb03ce@example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.earlier(c.registered)
			for _, login := range c.found {
				if got, err := w.accounts.ByLogin(ctx, LoginKind(login), login); err != nil || got != id {
					t.Errorf("%+q is the login of %q, %v; want %q", login, got, err, id)
				}
				if _, reason := normaliseAddress(emailKind, login); reason != "" {
					continue
				}
				_, err := w.accounts.Register(ctx, Meta{}, Registration{Email: login, Password: password, Name: "Second"})
				wantCode(t, err, Conflict, "login_taken")
				r, err := w.shares.Save(ctx, Meta{Account: w.alice}, NewShare{Email: login})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.shares.Delete(ctx, Meta{Account: id}, r.Share.ID); err != nil {
					t.Errorf("a share with %+q did not reach its account: %v", login, err)
				}
				_, err = w.shares.Save(ctx, Meta{Account: id}, NewShare{Email: login})
				wantCode(t, err, Invalid, "own_login")
			}
		})
	}
}

// TestSpellingsAreOneAccount: whoever registers another spelling of an address
// is refused, and a share with it reaches its account.
func TestSpellingsAreOneAccount(t *testing.T) {
	w := newWorld(t)
	r, err := w.accounts.Register(ctx, Meta{}, Registration{Email: "zoe\u0308@MÜNCHEN.de", Password: password, Name: "Zoë"})
	if err != nil {
		t.Fatal(err)
	}
	for _, spelling := range []string{"zoë@münchen.de", "ＺＯË@xn--mnchen-3ya.de", "zoe\u0308@mu\u0308nchen.de"} {
		_, err := w.accounts.Register(ctx, Meta{}, Registration{Email: spelling, Password: password, Name: "Second"})
		wantCode(t, err, Conflict, "login_taken")
		if got, err := w.accounts.ByLogin(ctx, emailKind, spelling); err != nil || got != r.Account {
			t.Errorf("%+q is the login of %q, %v", spelling, got, err)
		}
	}
}

func TestNoReadingForEarlierSpellingsOfPlainAddresses(t *testing.T) {
	for _, plain := range []string{"alice@example.com", " Alice.B+c@Example.COM "} {
		address, _ := normaliseAddress(emailKind, plain)
		if forms := earlierForms(emailKind, plain, address); len(forms) != 0 {
			t.Errorf("%q has the earlier spellings %q", plain, forms)
		}
	}
	if forms := earlierForms(phoneKind, "+86 18969190000", "+8618969190000"); len(forms) != 0 {
		t.Errorf("a number has the earlier spellings %q", forms)
	}
}
