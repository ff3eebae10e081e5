package main

import (
	"testing"
)

const otherPassword = "four words nobody knows"

// TestAChangedPasswordEndsEverything: sessions, stream keys and viewers have ended when
// the answer comes.
func TestAChangedPasswordEndsEverything(t *testing.T) {
	t.Parallel()
	cam := startGstCamera(t, "digest")
	s := serve(t, binary, t.TempDir())
	u := s.register(t, "olga")
	second := s.login(t, "olga")
	stranger := s.register(t, "stranger")
	device := u.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	key := u.streamKey()
	viewer := watching(t, s.rtsp, "/"+device+"/1", key, "tcp")
	if _, err := viewer.packet(); err != nil {
		t.Fatalf("the viewer sees nothing: %v", err)
	}
	body := map[string]any{"current": "not this one", "new": otherPassword}
	if err := u.call("PUT", "/accounts/me/password", body, nil); !hasCode(err, "wrong_password") {
		t.Fatalf("with a wrong password: %v", err)
	}
	if _, err := viewer.packet(); err != nil {
		t.Fatalf("a refused change ended the viewer: %v", err)
	}
	body["current"] = userPassword
	var session struct{ Token, Account string }
	u.must("PUT", "/accounts/me/password", body, &session)

	drained, err := drain(viewer)
	if err == nil || drained > 128<<10 {
		t.Errorf("%d bytes came after the answer, then %v", drained, err)
	}
	if code := describeStatus(t, s.rtsp, "/"+device+"/1", key); code != 401 {
		t.Errorf("the old key: status %d", code)
	}
	for name, old := range map[string]*user{"that changed it": u, "another": second} {
		if err := old.call("GET", "/devices", nil, nil); !hasCode(err, "unauthenticated") {
			t.Errorf("the session %s: %v", name, err)
		}
	}
	stranger.must("GET", "/devices", nil, nil)
	if err := u.call("POST", "/sessions", map[string]any{"login": u.login, "password": userPassword}, nil); !hasCode(err, "invalid_credentials") {
		t.Errorf("the old password: %v", err)
	}
	u.token = session.Token
	var keys struct{ Items []any }
	if u.must("GET", "/stream-keys", nil, &keys); len(keys.Items) != 0 {
		t.Errorf("keys are left: %v", keys.Items)
	}
	u.must("POST", "/sessions", map[string]any{"login": u.login, "password": otherPassword}, nil)

	var list struct {
		Items []struct {
			ID      string
			Current bool
			Same    bool `json:"same_network"`
		}
	}
	if u.must("GET", "/accounts/me/sessions", nil, &list); len(list.Items) != 2 || !list.Items[0].Same {
		t.Fatalf("the sessions: %+v", list.Items)
	}
	for _, item := range list.Items {
		if item.Current {
			continue
		}
		if err := stranger.call("DELETE", "/accounts/me/sessions/"+item.ID, nil, nil); !hasCode(err, "session_not_found") {
			t.Errorf("a stranger ends it: %v", err)
		}
		u.must("DELETE", "/accounts/me/sessions/"+item.ID, nil, nil)
	}
	u.must("DELETE", "/accounts/me/sessions", nil, nil)
	if u.must("GET", "/accounts/me/sessions", nil, &list); len(list.Items) != 1 || !list.Items[0].Current {
		t.Errorf("the sessions: %+v", list.Items)
	}
}
