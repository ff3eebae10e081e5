package descriptors

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEach: the log and the databases keep their part, whatever the limit is.
func TestEach(t *testing.T) {
	for limit, want := range map[int]int{256: 64, 1024: 128, 4096: 1152, 20000: 6453, 1 << 20: 8192} {
		if got := each(limit); got != want {
			t.Errorf("each(%d) = %d, want %d", limit, got, want)
		}
	}
	if n := Each(); n < least || n > most {
		t.Errorf("Each() = %d", n)
	}
}

// TestFew counts what is open really.
func TestFew(t *testing.T) {
	open, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	w := &Watch{limit: open + few + 8}
	if w.Few() {
		t.Error("few are left at the beginning")
	}
	for range 20 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	w.next.Store(0)
	if !w.Few() {
		t.Error("few are left, and it is not noticed")
	}
	if now, err := Open(); err != nil || now < open+20 {
		t.Errorf("%d are open, were %d, %v", now, open, err)
	}
}

// TestNoneLeft: when not even one is left to count with, few are left.
func TestNoneLeft(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	w := NewWatch()
	none := before
	none.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	few := w.Few()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if !few {
		t.Error("none is left, and it is not noticed")
	}
}
