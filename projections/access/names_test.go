package access

import (
	"strings"
	"testing"
	"unsafe"

	"latchkey/domain/event"
)

// TestNamesKeepNoText: what is remembered of an event is not a part of its text, which
// would stay in memory with it, however large it is.
func TestNamesKeepNoText(t *testing.T) {
	text := strings.Repeat("x", 1<<16) + "olga cam porch k1"
	part := func(s string) string {
		i := strings.LastIndex(text, s)
		return text[i : i+len(s)]
	}
	from := uintptr(unsafe.Pointer(unsafe.StringData(text)))
	check := func(what, s string) {
		t.Helper()
		if at := uintptr(unsafe.Pointer(unsafe.StringData(s))); s != "" && at >= from && at < from+uintptr(len(text)) {
			t.Errorf("%s %q is a part of the event's text", what, s)
		}
	}
	n := newNames(maxNumber)
	n.addKey(Key{Name: part("k1"), Account: part("olga"), Device: part("cam")})
	n.setDomain(1, 1, part("cam"), part("porch"))
	for name, k := range n.keys {
		check("the name of a key", name)
		check("the name of a key", k.Name)
		check("the account of a key", k.Account)
		check("the device of a key", k.Device)
	}
	for d, device := range n.domains {
		check("a domain", d.domain)
		check("the device of a domain", device)
	}
	n.revokeKey(part("k1"))
	for name := range n.keys {
		check("the name of a revoked key", name)
	}

	x := &Index{aside: &aside{}}
	x.gather(1, &event.Effect{Account: part("olga"), Owner: part("olga"), Device: part("cam"), Share: part("cam"), Domain: part("porch")})
	kept := x.aside.list[0].effect
	for _, s := range []string{kept.Account, kept.Owner, kept.Device, kept.Share, kept.Domain} {
		check("a gathered effect's", s)
	}
	for range mostAside/kept.Size() + 1 {
		x.gather(2, &event.Effect{Account: part("olga"), Owner: part("olga"), Device: part("cam"), Share: part("cam"), Domain: part("porch")})
	}
	if !x.aside.tooMany || x.aside.list != nil {
		t.Errorf("%d bytes of effects are gathered, want none after %d", x.aside.size, mostAside)
	}
}
