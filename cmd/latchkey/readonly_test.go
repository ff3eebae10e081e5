package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// readOnly makes a folder one that nobody can write to, root included.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
		return
	}
	err := syscall.Mount(dir, dir, "", syscall.MS_BIND, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

// The history is read from a copy that cannot be written to, as it is from the
// folder itself.
func TestAuditReadsAReadOnlyCopy(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := serve(t, binary, data)
	s.register(t, "owner").addDevice("rtsp://127.0.0.1:9/x", "", "")
	if code := s.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	want, err := exec.Command(binary, "audit", "replay", "--data", data, "--format", "ndjson", "--quiet").Output()
	if err != nil || len(want) == 0 {
		t.Fatalf("from the folder: %q, %v", want, err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	copyTree(t, data, copied)
	readOnly(t, copied)
	got, err := exec.Command(binary, "audit", "replay", "--data", copied, "--format", "ndjson", "--quiet").CombinedOutput()
	if err != nil || string(got) != string(want) {
		t.Errorf("from the copy: %q, %v; want %q", got, err, want)
	}
}
