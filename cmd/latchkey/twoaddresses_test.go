package main

import (
	"errors"
	"slices"
	"testing"

	"latchkey/api/client"
)

// TestOneDeviceByTwoAddresses: the same device is shared with two addresses of one person,
// who has it by one share at a time. The lists, the check and the door agree throughout.
func TestOneDeviceByTwoAddresses(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	owner, rita := s.register(t, "owner"), s.register(t, "rita")
	const second = "rita.second@example.com"
	rita.must("POST", "/accounts/me/addresses", map[string]any{"email": second}, nil)
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	one := owner.share(rita, device, "live_view", "playback")
	two := owner.share(&user{login: second}, device, "live_view")
	key := rita.streamKey()
	has := func(when, share string) {
		t.Helper()
		check, listed := rita.allowed(device)
		door := describeStatus(t, s.rtsp, "/"+device+"/1", key) != 404
		var list struct {
			Items []struct {
				ID      string
				Devices []struct {
					Status  string
					InForce bool `json:"in_force"`
				}
			}
		}
		rita.must("GET", "/shares/received", nil, &list)
		var by []string
		for _, item := range list.Items {
			for _, d := range item.Devices {
				if d.InForce {
					by = append(by, item.ID)
				}
			}
		}
		want := []string{share}
		if share == "" {
			want = nil
		}
		if !slices.Equal(by, want) || check != (share != "") || listed != len(want) || door != check {
			t.Errorf("%s: by %v, check %v, listed %d times, door %v; want %v", when, by, check, listed, door, want)
		}
	}
	has("before", "")
	rita.accept(one, device)
	has("accepted", one)
	err := rita.call("POST", "/shares/"+two+"/devices/"+device+"/accept", nil, nil)
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != "already_accepted" || !slices.Equal(e.Shares, []string{one}) {
		t.Errorf("accepting it again: %v", err)
	}
	has("after the refusal", one)
	owner.must("POST", "/shares/"+two+"/pause", nil, nil)
	has("the other one is paused", one)
	owner.must("POST", "/shares/"+two+"/resume", nil, nil)
	rita.must("POST", "/shares/"+two+"/devices/"+device+"/reject", nil, nil)
	has("the other one is rejected", one)
	var made struct{ Code string }
	owner.must("POST", "/invitation-codes", map[string]any{"devices": []any{invitation(device, "live_view")}}, &made)
	owner.must("DELETE", "/shares/"+two, nil, nil)
	if err := rita.call("POST", "/invitation-codes/redeem", map[string]any{"code": made.Code}, nil); !hasCode(err, "already_shared") {
		t.Errorf("redeeming a code for it: %v", err)
	}
	has("after a code for it", one)
	two = owner.share(&user{login: second}, device, "live_view")
	rita.must("DELETE", "/shares/"+one+"/devices/"+device, nil, nil)
	has("left", "")
	rita.accept(two, device)
	has("accepted by the other one", two)
	owner.must("DELETE", "/shares/"+one, nil, nil)
	has("the first share is deleted", two)
}

// TestASharesAddressBecomesTheOwners: an owner adds an address with which they share. Nothing
// of that is offered to themselves; it waits for whoever has the address next.
func TestASharesAddressBecomesTheOwners(t *testing.T) {
	t.Parallel()
	s := serve(t, binary, t.TempDir())
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://127.0.0.1:1/h264", "", "")
	share := owner.share(&user{login: "later@example.com"}, device, "live_view")
	var added struct{ ID string }
	owner.must("POST", "/accounts/me/addresses", map[string]any{"email": "later@example.com"}, &added)
	var waiting struct {
		Count int
		Items []any
	}
	owner.must("GET", "/invitations", nil, &waiting)
	if n := owner.received(); n != 0 || waiting.Count != 0 || len(waiting.Items) != 0 {
		t.Errorf("offered to oneself: %d shares, %+v", n, waiting)
	}
	var sent struct {
		Devices []struct{ Status string }
	}
	if owner.must("GET", "/shares/"+share, nil, &sent); len(sent.Devices) != 1 || sent.Devices[0].Status != "invited" {
		t.Errorf("the owner sees %+v", sent)
	}
	err := owner.call("POST", "/shares", map[string]any{"recipient": map[string]any{"email": "later@example.com"}, "devices": []any{}}, nil)
	if !hasCode(err, "own_login") {
		t.Errorf("sharing with it again: %v", err)
	}
	owner.must("DELETE", "/accounts/me/addresses/"+added.ID, nil, nil)
	next := s.register(t, "later")
	next.accept(share, device)
	if check, listed := next.allowed(device); !check || listed != 1 || next.received() != 1 {
		t.Errorf("the next holder: %v, %d", check, listed)
	}
}
