package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/journal"
)

// TestARevocationIsInTheJournalBeforeItsAnswer: and a log that lacks it later is
// not served.
func TestARevocationIsInTheJournalBeforeItsAnswer(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, binary, data)
	owner, recipient := s.register(t, "owner"), s.register(t, "recipient")
	device := owner.addDevice("rtsp://127.0.0.1:9/h264", cameraUser, cameraPassword)
	share := owner.share(recipient, device, "live_view")
	recipient.accept(share, device)
	if code := s.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	older := filepath.Join(t.TempDir(), "log")
	copyTree(t, filepath.Join(data, "log"), older)

	s = serve(t, binary, data)
	owner = s.login(t, "owner")
	owner.must("DELETE", "/shares/"+share, nil, nil)
	found := ""
	c, err := journal.Read(filepath.Join(data, journalName))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Entries {
		found += e.Kind + " " + e.Share + " " + e.Device + "\n"
	}
	if want := "share_device " + share + " " + device + "\nshare " + share + " \n"; found != want {
		t.Fatalf("the journal holds\n%s; want\n%s", found, want)
	}
	s.kill()

	if err := os.RemoveAll(filepath.Join(data, "log")); err != nil {
		t.Fatal(err)
	}
	copyTree(t, older, filepath.Join(data, "log"))
	out, err := exec.Command(binary, "serve", "--data", data, "--http", freeAddr(t), "--rtsp", freeAddr(t)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "put the newer log back, or run") {
		t.Fatalf("a log without an answered revocation is served: %v\n%s", err, out)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
