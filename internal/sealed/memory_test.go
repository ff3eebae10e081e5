package sealed

import (
	"bytes"
	"fmt"
	"testing"
)

func TestMemory(t *testing.T) {
	m := New(8)
	for i := range 100 {
		m.Put(fmt.Sprint("k", i), []byte(fmt.Sprint("a long secret ", i)))
	}
	if n := len(m.names()); n != 8 {
		t.Errorf("%d secrets are kept, want 8", n)
	}
	name := m.names()[0]
	for range 2 {
		m.Put(name, []byte("another long secret")) // takes nobody's place
	}
	if got, ok := m.Get(name); !ok || string(got) != "another long secret" || len(m.names()) != 8 {
		t.Errorf("%q, %v, %d kept", got, ok, len(m.names()))
	}
	for other, sealed := range m.sealed {
		if bytes.Contains(sealed, []byte("long secret")) {
			t.Errorf("the secret of %s stands readable in memory", other)
		}
	}
	m.sealed["moved"] = m.sealed[name]
	if _, ok := m.Get("moved"); ok {
		t.Error("a secret opens under another name")
	}
	m.Retain(func(kept string) bool { return kept == name })
	if names := m.names(); len(names) != 1 || names[0] != name {
		t.Errorf("%v are kept, want %s", names, name)
	}
	m.Forget(name)
	if _, ok := m.Get(name); ok {
		t.Error("a forgotten secret is kept")
	}
}
