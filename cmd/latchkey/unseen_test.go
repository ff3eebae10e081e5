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
	Own              bool
	Key              string `json:"stream_key"`
	Share, Transport string
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
