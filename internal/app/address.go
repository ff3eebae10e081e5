package app

import (
	"net/mail"
	"strings"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// The kinds of address.
const (
	emailKind = "email"
	phoneKind = "phone"
)

const maxLocalPart = 64 // RFC 5321, 4.5.3.1.1, in bytes

// mailDomain is the profile for domains of e-mail addresses: UTS #46 without the
// transitional mapping, by the rules for host names, every label checked.
var mailDomain = idna.New(
	idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true),
	idna.CheckHyphens(false), idna.CheckJoiners(true), idna.BidiRule(), idna.VerifyDNSLength(true),
)

// LoginName returns the canonical spelling of a login as entered, for limits and
// comparisons: the normalised address, or the folded text if it is not an address. A
// login with an @ is an e-mail address, any other a number.
func LoginName(login string) string {
	kind := LoginKind(login)
	if kind == userNameKind {
		return kind + ":" + normaliseName(login)
	}
	if address, reason := normaliseAddress(kind, login); reason == "" {
		return kind + ":" + address
	}
	return kind + ":?" + strings.ToLower(norm.NFKC.String(strings.TrimSpace(login)))
}

// LoginKind returns the kind of address that a login is meant as: "email" if it has an @,
// in any width, "name" if it begins with a letter, else "phone".
func LoginKind(login string) string {
	if strings.ContainsAny(login, "@＠") {
		return emailKind
	}
	if name := normaliseName(login); name != "" && name[0] >= 'a' && name[0] <= 'z' {
		return userNameKind
	}
	return phoneKind
}

// normaliseName is the one spelling of a user name.
func normaliseName(name string) string {
	return strings.ToLower(norm.NFKC.String(strings.TrimSpace(name)))
}

// oneAddress returns the kind and the normalised form of the one address that is
// set; at is the field that both are in.
func (f faults) oneAddress(at Field, email, phone string) (kind, address string) {
	kind, raw := emailKind, email
	if email == "" {
		kind, raw = phoneKind, phone
	}
	if (email == "") == (phone == "") {
		const reason = "exactly one of email and phone is required"
		f.add(at.Dot("email"), reason)
		f.add(at.Dot("phone"), reason)
		return "", ""
	}
	address, reason := normaliseAddress(kind, raw)
	if reason != "" {
		f.add(at.Dot(Field(kind)), reason)
	}
	return kind, address
}

// normaliseAddress returns the canonical spelling of an address: an e-mail address as by
// normaliseEmail, or a number in E.164 format. reason is why it is not an address,
// without repeating it.
func normaliseAddress(kind, raw string) (address, reason string) {
	switch kind {
	case emailKind:
		return normaliseEmail(raw)
	case phoneKind:
		return normalisePhone(raw)
	}
	return "", "is neither an e-mail address nor a number"
}

const noEmail = "is not an e-mail address"

// normaliseEmail returns the canonical spelling of an e-mail address: the local part by
// the PRECIS profile UsernameCaseMapped (width folded, lower case, NFC), the domain in
// lower-case ASCII. An ASCII address without an internationalised domain is only
// lower-cased.
func normaliseEmail(raw string) (address, reason string) {
	s := strings.TrimSpace(raw)
	if !utf8.ValidString(s) || len(s) > 4*maxEmail {
		return "", noEmail
	}
	if reason := unseen(s, strict); reason != "" {
		return "", reason
	}
	local, domain, ok := cutLast(width.Fold.String(s), "@")
	if !ok {
		return "", noEmail
	}
	if local, ok = normaliseLocal(local); !ok {
		return "", noEmail
	}
	if domain, ok = normaliseDomain(domain); !ok {
		return "", noEmail
	}
	address = local + "@" + domain
	if len(local) > maxLocalPart && !ascii(raw) || len(address) > maxEmail || !isMailAddress(address) {
		return "", noEmail
	}
	return address, ""
}

// normaliseLocal applies the profile until nothing changes: one pass is not always enough
// (RFC 8264, section 7).
func normaliseLocal(local string) (string, bool) {
	if ascii(local) {
		return strings.ToLower(local), local != ""
	}
	const passes = 4
	for range passes {
		next, err := precis.UsernameCaseMapped.String(local)
		if err != nil {
			return "", false
		}
		if next == local {
			return local, true
		}
		local = next
	}
	return "", false
}

// normaliseDomain only lower-cases an ASCII domain; in an internationalised one, every
// label must be valid in both of its forms.
func normaliseDomain(domain string) (string, bool) {
	lower := strings.ToLower(domain)
	if ascii(lower) && !strings.HasPrefix(lower, "xn--") && !strings.Contains(lower, ".xn--") {
		return lower, lower != ""
	}
	a, err := mailDomain.ToASCII(domain)
	return a, err == nil && ascii(a)
}

// isMailAddress reports whether a normalised address is one without quotes,
// comments or a display name.
func isMailAddress(s string) bool {
	if strings.ContainsAny(s, " \"<>()\\,;:") {
		return false
	}
	parsed, err := mail.ParseAddress(s)
	return err == nil && parsed.Address == s && parsed.Name == ""
}

func normalisePhone(raw string) (address, reason string) {
	const (
		no     = "is not a number with its country code, like +8618969190000"
		noPlus = "has no country code that can be told for certain: write the number like +8618969190000, with + and the country code"
	)
	if reason := unseen(raw, strict); reason != "" {
		return "", reason
	}
	s := strings.TrimSpace(width.Fold.String(raw))
	if len(s) > maxPhone {
		return "", no
	}
	if after, ok := strings.CutPrefix(s, "00"); ok { // as dialed in most countries
		s = "+" + after
	}
	if !strings.HasPrefix(s, "+") {
		// Digits alone would often be someone else's number: 15012345678 is a Chinese
		// mobile number without its country code, and a number in Arkansas with one.
		return "", noPlus
	}
	n, err := phonenumbers.Parse(s, "")
	if err != nil || !phonenumbers.IsValidNumber(n) || n.GetExtension() != "" {
		return "", no
	}
	return phonenumbers.Format(n, phonenumbers.E164), ""
}

// earlierForms returns the spellings under which accounts were registered for the address
// before the current normalisation: lower case only. None for a number and for an ASCII
// address, whose spelling has not changed.
func earlierForms(kind, raw, address string) []string {
	if kind != emailKind {
		return nil
	}
	forms := []string{strings.ToLower(strings.TrimSpace(raw))}
	if local, domain, ok := cutLast(address, "@"); ok {
		unicoded, err := mailDomain.ToUnicode(domain)
		if err == nil {
			forms = append(forms, local+"@"+unicoded, norm.NFD.String(local)+"@"+unicoded, norm.NFD.String(local+"@"+unicoded))
		}
		forms = append(forms, norm.NFD.String(local)+"@"+domain)
	}
	var earlier []string
	seen := map[string]bool{address: true, "": true}
	for _, form := range forms {
		if !seen[form] && len(form) <= maxEmail && utf8.ValidString(form) && isMailAddress(form) {
			earlier = append(earlier, form)
		}
		seen[form] = true
	}
	return earlier
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
