package access

import (
	"strings"
	"testing"
	"unsafe"

	"latchkey/domain/event"
	"latchkey/domain/ids"
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
	n.addKey(Key{Name: ids.Key(part("k1")), Account: ids.Account(part("olga")), Device: ids.Device(part("cam"))})
	n.setDomain(1, 1, ids.Device(part("cam")), part("porch"))
	for name, k := range n.keys {
		check("the name of a key", string(name))
		check("the name of a key", string(k.Name))
		check("the account of a key", string(k.Account))
		check("the device of a key", string(k.Device))
	}
	for d, device := range n.domains {
		check("a domain", d.domain)
		check("the device of a domain", string(device))
	}
	n.revokeKey(ids.Key(part("k1")))
	for name := range n.keys {
		check("the name of a revoked key", string(name))
	}

	x := &Index{aside: &aside{}}
	x.gather(1, &event.Effect{Account: ids.Account(part("olga")), Owner: ids.Account(part("olga")), Device: ids.Device(part("cam")), Share: ids.Share(part("cam")), Domain: part("porch")})
	kept := x.aside.list[0].effect
	for _, s := range []string{string(kept.Account), string(kept.Owner), string(kept.Device), string(kept.Share), kept.Domain} {
		check("a gathered effect's", s)
	}
	for range mostAside/kept.Size() + 1 {
		x.gather(2, &event.Effect{Account: ids.Account(part("olga")), Owner: ids.Account(part("olga")), Device: ids.Device(part("cam")), Share: ids.Share(part("cam")), Domain: part("porch")})
	}
	if !x.aside.tooMany || x.aside.list != nil {
		t.Errorf("%d bytes of effects are gathered, want none after %d", x.aside.size, mostAside)
	}
}
