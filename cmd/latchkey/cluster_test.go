package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"latchkey/internal/testdb"
)

// TestTwoProcessesOnOneStore: two services share a node and a PostgreSQL; what
// one does the other enforces; one is killed and the other goes on.
func TestTwoProcessesOnOneStore(t *testing.T) {
	cam := startGstCamera(t, "digest")
	dir := t.TempDir()
	socket := startNodeProcess(t, dir)
	dsn := testdb.Postgres(t)
	flags := []string{"--eventstore", "unix://" + socket, "--database", dsn}
	a := serve(t, binary, filepath.Join(dir, "a"), flags...)
	b := serve(t, binary, filepath.Join(dir, "b"), flags...)

	ownerA := a.register(t, "owner")
	recipientA := a.register(t, "recipient")
	device := ownerA.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	key := recipientA.streamKey()
	for round := range 3 {
		share := ownerA.share(recipientA, device, "live_view")
		recipientA.accept(share, device)
		eventually(t, "the other process knows the grant", func() bool { return describeStatus(t, b.rtsp, "/"+device+"/1", key) == 200 })
		v := watching(t, b.rtsp, "/"+device+"/1", key, "tcp")
		if _, err := v.packet(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ownerA.must("DELETE", "/shares/"+share, nil, nil)
		answered := time.Now()
		if _, err := drain(v); err == nil {
			t.Fatal("the viewer of the other process is not cut")
		}
		t.Logf("round %d: the command took %v, the other process's viewer ended %v after the answer", round, answered.Sub(began), time.Since(answered))
		v.close()
	}

	// One dies in the middle of its work.
	writing := make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			if err := ownerA.call("POST", "/shares", map[string]any{"recipient": map[string]any{"email": fmt.Sprintf("friend%d@example.com", n)},
				"devices": []any{invitation(device, "live_view")}}, nil); err != nil {
				break
			}
		}
		writing <- n
	}()
	eventually(t, "the first process has written", func() bool {
		var list struct{ Items []any }
		return b.login(t, "owner").call("GET", "/shares/sent?limit=50", nil, &list) == nil && len(list.Items) >= 10
	})
	a.kill()
	acknowledged := <-writing

	ownerB, recipientB := b.login(t, "owner"), b.login(t, "recipient")
	share := ownerB.share(recipientB, device, "live_view")
	recipientB.accept(share, device)
	if got := describeStatus(t, b.rtsp, "/"+device+"/1", key); got != 200 {
		t.Errorf("after the other's death the door answers %d", got)
	}
	sent := map[string]bool{}
	for cursor := ""; ; {
		var page struct {
			Items []struct{ Recipient struct{ Email string } }
			Next  string
		}
		path := "/shares/sent?limit=100"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		ownerB.must("GET", path, nil, &page)
		for _, item := range page.Items {
			if sent[item.Recipient.Email] {
				t.Errorf("%s stands twice in the list", item.Recipient.Email)
			}
			sent[item.Recipient.Email] = true
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	for i := range acknowledged {
		if name := fmt.Sprintf("friend%d@example.com", i); !sent[name] {
			t.Errorf("the share with %s was acknowledged and is not there", name)
		}
	}
	t.Logf("%d shares were acknowledged before the kill", acknowledged)
}
