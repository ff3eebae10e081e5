package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// accessAnswer is what GET /devices/{device}/access answers.
type accessAnswer struct {
	Items []struct {
		Kind, Share, Name, Status string
		Paused                    bool
		StreamKeys                int                          `json:"stream_keys"`
		StreamKey                 struct{ Name, Label string } `json:"stream_key"`
		LastUse                   lastUseAnswer                `json:"last_use"`
		Changed                   struct{ Event, Type string }
	}
	Sessions struct{ Count int }
	Past     []struct {
		Own     bool
		Share   string
		LastUse lastUseAnswer `json:"last_use"`
	}
}

type lastUseAnswer struct {
	At         time.Time
	Channel    int
	Privileges []string
}

func (u *user) access(device string) (a accessAnswer) {
	u.t.Helper()
	u.must("GET", "/devices/"+device+"/access", nil, &a)
	return a
}

// nameOf returns the name of a stream key, "name:secret".
func nameOf(key string) string {
	name, _, _ := strings.Cut(key, ":")
	return name
}

type viewerAnswer struct {
	ID                        string
	Own                       bool
	Key                       string `json:"stream_key"`
	Share, Transport, Address string
	Name                      string
	Recipient                 struct{ Email string }
	Channel                   int
	Privileges                []string
	Since                     time.Time
}

func (u *user) viewers(device string) []viewerAnswer {
	u.t.Helper()
	var list struct{ Items []viewerAnswer }
	u.must("GET", "/devices/"+device+"/viewers", nil, &list)
	return list.Items
}

// TestNobodyWatchesUnseen: whoever watches is in the list of those who watch, and has
// a row in the list of ways in, with a last use; whoever lost the way is in neither, and
// the last use remains.
func TestNobodyWatchesUnseen(t *testing.T) {
	t.Parallel()
	cam := startGstCamera(t, "digest")
	s := serve(t, binary, t.TempDir())
	owner, recipient := s.register(t, "owner"), s.register(t, "recipient")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	share := owner.share(recipient, device, "live_view")
	recipient.accept(share, device)
	theirs := recipient.streamKey()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))

	var own string // a key of the owner, "" for none
	running := map[*rawViewer]bool{}
	paused := false
	check := func(step string) {
		t.Helper()
		a := owner.access(device)
		ways := map[string]bool{} // way -> it has a last use
		for _, item := range a.Items {
			switch {
			case item.Kind == "stream_key":
				ways[item.StreamKey.Name] = !item.LastUse.At.IsZero()
			case item.Status == "accepted" && !item.Paused:
				if item.StreamKeys == 0 || item.Name != "recipient" || item.Changed.Event == "" {
					t.Errorf("%s: %+v", step, item)
				}
				ways[item.Share] = !item.LastUse.At.IsZero()
			}
		}
		var uses struct {
			Items []struct {
				Share, Device string
				LastUse       lastUseAnswer `json:"last_use"`
			}
		}
		owner.must("GET", "/shares/uses?shares="+share, nil, &uses)
		if used, there := ways[share]; there && used != (len(uses.Items) == 1 && uses.Items[0].Device == device && uses.Items[0].LastUse.Channel == 1) {
			t.Errorf("%s: the last use of the share is %+v; there is one: %v", step, uses.Items, used)
		}
		seen := owner.viewers(device)
		if len(seen) != len(running) {
			t.Fatalf("%s: %d viewers are listed, %d watch", step, len(seen), len(running))
		}
		for _, v := range seen {
			way := v.Share
			if v.Own {
				way = v.Key
			}
			if used, there := ways[way]; !there || !used {
				t.Fatalf("%s: %+v watches, and there is no way for it: %+v", step, v, a)
			}
		}
	}
	stop := func(which func(*rawViewer) bool) {
		for v := range running {
			if which(v) {
				v.close()
				delete(running, v)
			}
		}
	}
	of := func(key string) func(*rawViewer) bool {
		return func(v *rawViewer) bool { return running[v] == (key == own) }
	}
	start := func(key string) {
		v := watching(t, s.rtsp, "/"+device+"/1", key, []string{"tcp", "udp"}[random.IntN(2)])
		running[v] = key == own
	}
	start(theirs)
	for step := range 25 {
		name := ""
		switch random.IntN(6) {
		case 0:
			if own == "" {
				own = owner.streamKey()
			}
			name = "the owner watches"
			start(own)
		case 1, 2:
			if name = "the recipient watches"; !paused {
				start(theirs)
			}
		case 3:
			if name = "the share is paused or resumed"; paused {
				owner.must("POST", "/shares/"+share+"/resume", nil, nil)
			} else {
				owner.must("POST", "/shares/"+share+"/pause", nil, nil)
				stop(func(v *rawViewer) bool { return !running[v] })
			}
			paused = !paused
		case 4:
			name = "the owner's key is revoked"
			if own != "" {
				owner.must("DELETE", "/stream-keys/"+nameOf(own), nil, nil)
				stop(of(own))
				own = ""
			}
		case 5:
			name = "a viewer ends"
			for v := range running {
				v.close()
				delete(running, v)
				eventually(t, "it is listed no more", func() bool { return len(owner.viewers(device)) == len(running) })
				break
			}
		}
		check(fmt.Sprintf("step %d, %s", step, name))
	}
	if !paused {
		start(theirs)
		check("at last")
	}
	owner.must("DELETE", "/shares/"+share, nil, nil)
	a := owner.access(device)
	for _, item := range a.Items {
		if item.Kind == "share" {
			t.Errorf("the deleted share is a way in: %+v", item)
		}
	}
	found := false
	for _, p := range a.Past {
		found = found || p.Share == share && !p.Own && p.LastUse.Channel == 1 && len(p.LastUse.Privileges) == 1
	}
	if !found {
		t.Errorf("the last use through the deleted share: %+v", a.Past)
	}
}

// TestTheOwnerEndsAViewer: the owner sees who watches, by which key and from where, and
// ends one: that one is cut before the answer, nobody else is, and it may come back.
func TestTheOwnerEndsAViewer(t *testing.T) {
	cam := startSimCamera(t, "127.2.1.7")
	s := serve(t, binary, t.TempDir())
	owner, rita, sam := s.register(t, "owner"), s.register(t, "rita"), s.register(t, "sam")
	device := owner.addDevice(cam.URL(1, false), cameraUser, cameraPassword)
	share := owner.share(rita, device, "live_view")
	rita.accept(share, device)
	key := rita.streamKey()
	path := "/" + device + "/1"
	tcp, udp := watching(t, s.rtsp, path, key, "tcp"), watching(t, s.rtsp, path, key, "udp")
	bystander := watching(t, s.rtsp, path, owner.streamKey(), "tcp")
	seen := owner.viewers(device)
	if len(seen) != 3 {
		t.Fatalf("three watch: %+v", seen)
	}
	for i, transport := range []string{"rtsp-tcp", "rtsp-udp"} {
		v := seen[i]
		if v.Own || v.Share != share || v.Recipient.Email != rita.login || v.Name != "rita" || v.Key != nameOf(key) || v.Address != "127.0.0.1" ||
			v.Transport != transport || v.Channel != 1 || strings.Join(v.Privileges, "") != "live_view" || time.Since(v.Since) > time.Minute {
			t.Errorf("viewer %d: %+v", i, v)
		}
		gone := "/devices/" + device + "/viewers/" + v.ID
		for _, other := range []*user{rita, sam} {
			if err := other.call("DELETE", gone, nil, nil); !hasCode(err, "device_not_found") {
				t.Errorf("by %s: %v", other.login, err)
			}
		}
		owner.must("DELETE", gone, nil, nil)
		if i == 0 {
			if drained, err := drain(tcp); err == nil || drained > 128<<10 {
				t.Errorf("%d bytes came after the answer, then %v", drained, err)
			}
		} else {
			drainUDP(udp.udp[0])
			_ = udp.udp[0].SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			if n, _, err := udp.udp[0].ReadFrom(make([]byte, 2048)); err == nil {
				t.Errorf("a packet of %d bytes came after the answer", n)
			}
		}
		if err := owner.call("DELETE", gone, nil, nil); !hasCode(err, "viewer_not_found") {
			t.Errorf("ending it again: %v", err)
		}
		if now := owner.viewers(device); len(now) != 2-i {
			t.Errorf("%d are listed after the end of %d", len(now), i+1)
		}
	}
	for _, id := range []string{"0", "x", "-1"} {
		if err := owner.call("DELETE", "/devices/"+device+"/viewers/"+id, nil, nil); !hasCode(err, "viewer_not_found") {
			t.Errorf("ending %q: %v", id, err)
		}
	}
	if _, err := bystander.packet(); err != nil {
		t.Errorf("the owner's own viewer: %v", err)
	}
	watching(t, s.rtsp, path, key, "tcp") // the share is as it was
}
