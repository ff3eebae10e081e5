package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"latchkey/internal/vault"
)

// sealedCamera is what the vault of a running service has of a device's camera.
func sealedCamera(t *testing.T, data, device string) (sealed []byte) {
	t.Helper()
	db, err := vault.OpenFile(filepath.Join(data, "vault.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.NewRaw("SELECT value FROM vault_secrets WHERE kind = 'camera' AND id = ?", device).Scan(t.Context(), &sealed); err != nil {
		t.Fatal(err)
	}
	return sealed
}

// filesWith lists the files of a folder that have some of the bytes.
func filesWith(t *testing.T, dir string, value []byte) (list []string) {
	t.Helper()
	const window = 12
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for i := 0; i+window <= len(value); i += window {
			if bytes.Contains(data, value[i:i+window]) {
				list = append(list, filepath.Base(path))
				break
			}
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) { // SQLite's files come and go
		t.Fatal(err)
	}
	return list
}

// TestRemovedCameraIsInNoFile of the data folder: a moment after the removal while
// the service runs, after a clean stop, and after a kill and the next start.
func TestRemovedCameraIsInNoFile(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := serve(t, binary, data)
	owner := s.register(t, "owner")
	add := func() (device string, sealed []byte) {
		t.Helper()
		device = owner.addDevice("rtsp://192.0.2.1/h264", cameraUser, cameraPassword)
		sealed = sealedCamera(t, data, device)
		if len(filesWith(t, data, sealed)) == 0 {
			t.Fatal("the camera is found in no file while it is there: the search does not work")
		}
		return device, sealed
	}
	gone := func(when string, values ...[]byte) {
		t.Helper()
		for _, v := range append(values, []byte(cameraPassword)) {
			if files := filesWith(t, data, v); len(files) > 0 {
				t.Errorf("%s the removed camera is in %v", when, files)
			}
		}
	}
	one, first := add()
	owner.must("DELETE", "/devices/"+one, nil, nil)
	eventually(t, "the removed camera is in no file", func() bool { return len(filesWith(t, data, first)) == 0 })

	two, second := add()
	owner.must("DELETE", "/devices/"+two, nil, nil)
	if code := s.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	gone("after a clean stop", first, second)

	s = serve(t, binary, data)
	owner = s.login(t, "owner")
	three, third := add()
	owner.must("DELETE", "/devices/"+three, nil, nil)
	s.kill()
	s = serve(t, binary, data)
	gone("after a kill and a start", first, second, third)
	s.stop(t)
	gone("after all", first, second, third)
}
