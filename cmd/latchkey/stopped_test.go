package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/testdb"
)

// TestStoppedProcessSendsNothing: a process is stopped, as on a paused machine;
// meanwhile another one takes the share away. When the first goes on, its kernel
// is full of the camera's packets, and it must not send one.
func TestStoppedProcessSendsNothing(t *testing.T) {
	const staleness = 2 * time.Second
	cam := startGstCamera(t, "digest")
	dir := t.TempDir()
	socket := startNodeProcess(t, dir)
	flags := []string{"--eventstore", "unix://" + socket, "--database", testdb.Postgres(t), "--max-staleness", staleness.String()}
	a := serve(t, binary, filepath.Join(dir, "a"), flags...)
	b := serve(t, binary, filepath.Join(dir, "b"), flags...)

	owner, recipient := b.register(t, "owner"), b.register(t, "recipient")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	share := owner.share(recipient, device, "live_view")
	recipient.accept(share, device)
	key := recipient.streamKey()
	path := "/" + device + "/1"
	eventually(t, "the other process knows the grant", func() bool { return describeStatus(t, a.rtsp, path, key) == 200 })
	tcp, udp := watching(t, a.rtsp, path, key, "tcp"), watching(t, a.rtsp, path, key, "udp")
	buf := make([]byte, 2048)
	for range 10 {
		if _, err := tcp.packet(); err != nil {
			t.Fatal(err)
		}
		_ = udp.udp[0].SetReadDeadline(time.Now().Add(patience))
		if _, _, err := udp.udp[0].ReadFrom(buf); err != nil {
			t.Fatal(err)
		}
	}

	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	owner.must("DELETE", "/shares/"+share, nil, nil)
	_ = tcp.conn.SetReadDeadline(stopped.Add(staleness + 500*time.Millisecond))
	for {
		if _, err := tcp.in.Read(buf); err != nil { // what the kernels held; then the time is over
			break
		}
	}
	drainUDP(udp.udp[0])
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	if n, err := drain(tcp); n > 0 || err == nil {
		t.Errorf("over TCP %d bytes came after the process went on, then %v", n, err)
	}
	// Over UDP what lay between two goroutines when the process stopped may still
	// leave (decision 0015), but nothing of what its kernel holds by now.
	const underWay = 2
	_ = udp.udp[0].SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	came := 0
	for {
		if _, _, err := udp.udp[0].ReadFrom(buf); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		came++
	}
	if came > underWay {
		t.Errorf("over UDP %d packets came after the process went on", came)
	}
	eventually(t, "the door knows it too", func() bool { return describeStatus(t, a.rtsp, path, key) == 404 })
}
