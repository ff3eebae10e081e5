package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/pause"
)

// TestAFloodOfLogIns: sixty addresses guess as often as they may. The right password
// from where it came before is accepted before most of them, every time, and
// privileges are taken back meanwhile.
func TestAFloodOfLogIns(t *testing.T) {
	// It waits for the hash that is computed and is next; some more were answered before,
	// and their clients have not been told. On a busy machine these are many now and then;
	// without a place before the others it would be all 32 that wait, each time.
	const most = 20
	s := serve(t, binary, t.TempDir())
	owner, guest := s.register(t, "owner"), s.register(t, "guest")
	device := owner.addDevice(deadCamera, cameraUser, cameraPassword)
	var share struct{ ID string }
	owner.must("POST", "/shares", map[string]any{"recipient": map[string]any{"email": guest.login}, "devices": []any{invitation(device, "live_view")}}, &share)
	at := "/shares/" + share.ID + "/devices/" + device

	hashed, end := flood(t, s.http, 60)
	var logIns, revocations []time.Duration
	var guesses []int
	for range 5 {
		guest.must("POST", at+"/accept", nil, nil)
		revocations = append(revocations, took(func() { owner.must("DELETE", at, nil, nil) }))
		owner.must("PUT", at, invitation(device, "live_view"), nil)
		before := hashed()
		logIns = append(logIns, took(func() { s.login(t, "owner") }))
		guesses = append(guesses, hashed()-before)
		pause.For(t.Context(), 100*time.Millisecond)
	}
	seen := end()
	if slices.Sort(guesses); guesses[len(guesses)/2] > most {
		t.Errorf("%v guesses were hashed before the right password, want at most %d mostly", guesses, most)
	}
	t.Logf("log-ins: median %v, worst %v; revocations: median %v, worst %v; the flood was answered %v",
		median(logIns), slices.Max(logIns), median(revocations), slices.Max(revocations), seen)
}

func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// flood guesses passwords from a number of addresses, as often as the API lets each
// of them in the long run. It returns when some are refused; hashed returns how many
// were answered that were not, and end ends the flood and returns how often each
// status was answered.
func flood(t *testing.T, host string, addresses int) (hashed func() int, end func() map[int]int) {
	const (
		clientsEach  = 10                     // at once
		allowedEvery = 200 * time.Millisecond // of one address
	)
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]int{}
	for i := range addresses {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
		client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: clientsEach}}
		t.Cleanup(client.CloseIdleConnections)
		for c := range clientsEach {
			clients.Go(func() {
				for n := 0; n == 0 || pause.For(ctx, clientsEach*allowedEvery); n++ {
					status := guess(ctx, client, host, fmt.Sprintf("nobody-%d-%d-%d@example.com", i, c, n))
					mu.Lock()
					seen[status]++
					mu.Unlock()
				}
			})
		}
	}
	end = sync.OnceValue(func() map[int]int {
		cancel()
		clients.Wait()
		return seen
	})
	t.Cleanup(func() { end() })
	answered := func(status int) int {
		mu.Lock()
		defer mu.Unlock()
		return seen[status]
	}
	eventually(t, "guesses are refused", func() bool { return answered(http.StatusTooManyRequests) > 0 })
	return func() int { return answered(http.StatusUnauthorized) }, end
}

// guess returns the status, 0 if there is no answer.
func guess(ctx context.Context, client *http.Client, host, login string) int {
	body := strings.NewReader(`{"login":"` + login + `","password":"guess number one"}`)
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+host+"/api/v1/sessions", body)
	if err != nil {
		return 0
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}
