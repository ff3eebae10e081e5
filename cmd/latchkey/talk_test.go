package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// lastOf returns the last number that a process has said after a word; 0 if none.
func (p *process) lastOf(word string) int {
	said := p.said()
	at := strings.LastIndex(said, word+" ")
	if at < 0 {
		return 0
	}
	number, _, _ := strings.Cut(said[at+len(word)+1:], "\n")
	n, _ := strconv.Atoi(number)
	return n
}

// TestTalkThroughTheDoor: GStreamer talks to GStreamer's camera by ONVIF's back channel, as
// long as it may; the picture goes on.
func TestTalkThroughTheDoor(t *testing.T) {
	t.Parallel()
	cam := startGstCamera(t, "digest")
	s := serve(t, binary, t.TempDir())
	owner, rita := s.register(t, "olga"), s.register(t, "rita")
	device := owner.addDevice("rtsp://"+cam.addr+"/talk", cameraUser, cameraPassword)
	share := owner.share(rita, device, "live_view", "two_way_audio")
	rita.accept(share, device)
	player := talkTo(t, cam, "rtsp://"+rita.streamKey()+"@"+s.rtsp+"/"+device+"/1")

	var viewers struct {
		Items []struct{ Transport, Share string }
	}
	owner.must("GET", "/devices/"+device+"/viewers", nil, &viewers)
	var transports []string
	for _, v := range viewers.Items {
		transports = append(transports, v.Transport)
	}
	if slices.Sort(transports); !slices.Equal(transports, []string{"rtsp-talk", "rtsp-tcp"}) {
		t.Errorf("the viewers: %+v", viewers)
	}
	owner.must("PUT", "/shares/"+share+"/devices/"+device, map[string]any{"channels": []any{map[string]any{"channel": 1, "privileges": []string{"live_view"}}}}, nil)
	heard, seen := cam.lastOf("heard"), player.lastOf("playing")
	eventually(t, "the picture goes on", func() bool { return player.lastOf("playing") > seen+50 })
	// What had reached the camera before is played there: its queue holds a second at most.
	if more := cam.lastOf("heard") - heard; more > 8000 {
		t.Errorf("%d bytes were heard after the answer", more)
	}
	heard = cam.lastOf("heard")
	time.Sleep(500 * time.Millisecond)
	if more := cam.lastOf("heard") - heard; more != 0 || player.ended() {
		t.Errorf("%d bytes more were heard; the player has ended: %v", more, player.ended())
	}
}

// talkTo starts a player that talks to GStreamer's camera, and returns when it is heard. Of
// 20 conversations, that camera plays nothing in one or so, with any client and without the
// door: sound that comes right after its response to PLAY can stop its pipeline. Then the
// player is started again.
func talkTo(t *testing.T, cam *gstCamera, url string) *process {
	t.Helper()
	var player *process
	var began time.Time
	eventually(t, "the camera hears the player", func() bool {
		if player != nil && cam.lastOf("heard") == 0 && time.Since(began) > patience/5 {
			player.kill()
			player = nil
		}
		if player == nil {
			player, began = newProcess("/usr/bin/python3", "testdata/talker.py", url, "tcp"), time.Now()
			stdin, err := player.cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { stdin.Close() })
			player.launch(t)
		}
		return cam.lastOf("heard") > 8000 && player.lastOf("playing") > 0
	})
	return player
}
