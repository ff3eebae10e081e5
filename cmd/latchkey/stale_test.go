package main

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// TestStalePermission takes live view away and at once tries to play. In a
// control build, whose commands do not wait for the privilege index, somebody
// gets in: the test can fail. In the real one nobody does.
func TestStalePermission(t *testing.T) {
	control := filepath.Join(t.TempDir(), "latchkey-unguarded")
	if out, err := build(control, "-tags", "latchkey_unguarded"); err != nil {
		t.Fatalf("building the control: %v\n%s", err, out)
	}
	cam := startGstCamera(t, "digest")
	if in, tries := stalePlays(t, control, cam, 4000, true); in == 0 {
		t.Errorf("the control build let nobody in in %d tries: this test shows nothing", tries)
	} else {
		t.Logf("the control build let somebody in after %d tries", tries)
	}
	in, tries := stalePlays(t, binary, cam, rounds(t, "LATCHKEY_STALE_TRIES", 500), false)
	if in != 0 {
		t.Errorf("%d of %d viewers got in after their privilege was taken away", in, tries)
	}
	t.Logf("nobody of %d got in", tries)
}

// stalePlays answers how many viewers got in, and of how many. untilOne ends
// with the first.
func stalePlays(t *testing.T, bin string, cam *gstCamera, most int, untilOne bool) (in, tries int) {
	t.Helper()
	s := serve(t, bin, t.TempDir())
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	var got, done atomic.Int64
	var wg sync.WaitGroup
	const workers = 4
	for worker := range workers {
		o := *owner
		wg.Go(func() {
			var share, key string
			for i := range most / workers {
				if untilOne && got.Load() > 0 {
					return
				}
				if i%triesOfShare == 0 {
					share, key = shared(t, s, &o, device, fmt.Sprintf("recipient%d-%d", worker, i))
				}
				ok, err := playAfterRevocation(s, &o, share, device, key, untilOne)
				if err != nil {
					t.Errorf("try %d: %v", done.Load(), err)
					return
				}
				done.Add(1)
				if ok {
					got.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(got.Load()), int(done.Load())
}

// triesOfShare is how often one share is edited to and fro. Nobody does that
// thousands of times, and a command reads all events of its share.
const triesOfShare = 50

// shared answers a share that a new recipient has accepted, and its stream key.
func shared(t *testing.T, s *service, owner *user, device, name string) (share, key string) {
	t.Helper()
	recipient := s.register(t, name)
	share = owner.share(recipient, device, "live_view")
	recipient.accept(share, device)
	return share, recipient.streamKey()
}

// playAfterRevocation sets a viewer up, takes the privilege away, and plays.
func playAfterRevocation(s *service, owner *user, share, device, key string, control bool) (bool, error) {
	path := "/shares/" + share + "/devices/" + device
	if err := owner.call("PUT", path, invitation(device, "live_view"), nil); err != nil {
		return false, err
	}
	v, err := dialRaw(s.rtsp, "/"+device+"/1", key)
	if err != nil {
		return false, err
	}
	defer v.close()
	r, err := v.describe()
	for err == nil && r.status == 403 && control { // the control has not waited for the grant either
		r, err = v.describe()
	}
	if err != nil || r.status != 200 {
		return false, fmt.Errorf("DESCRIBE with the privilege: status %d, %w", status(r), err)
	}
	if r, err = v.setup(r.body, "tcp"); err != nil || r.status != 200 {
		return false, fmt.Errorf("SETUP with the privilege: status %d, %w", status(r), err)
	}
	if err := owner.call("PUT", path, invitation(device, "playback"), nil); err != nil {
		return false, err
	}
	r, err = v.play()
	if err != nil { // the session was ended with its connection: that is a no
		return false, nil
	}
	return r.status == 200, nil
}
