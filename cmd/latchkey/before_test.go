package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// madeBefore is a data folder that the version before decision 0026 made and left in
// order, with what that version answered about it. An older folder must open for ever:
// it is never made again.
const madeBefore = "testdata/before-0026.tar.gz"

type before struct {
	Answers            map[string]any // to "name /path"
	Share, Key, Secret string
	RevokedKey         string `json:"revoked"`
	RevokedSecret      string `json:"revoked_secret"`
}

// unpackBefore returns the data folder, what is known of it and its history.
func unpackBefore(t *testing.T) (data string, facts before, history string) {
	t.Helper()
	dir := shortDir(t)
	f, err := os.Open(madeBefore)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(unzip); ; {
		entry, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, filepath.FromSlash(entry.Name))
		if entry.Typeflag == tar.TypeDir {
			err = os.MkdirAll(at, 0o700)
		} else {
			var content []byte
			if content, err = io.ReadAll(archive); err == nil {
				err = os.WriteFile(at, content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if err := json.Unmarshal(read("facts.json"), &facts); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "data"), facts, string(read("history.ndjson"))
}

// TestADataFolderOfTheVersionBefore: a folder that an older version made is served with
// the same answers and the same rights, also by read models that are made again, and its
// history reads the same.
func TestADataFolderOfTheVersionBefore(t *testing.T) {
	t.Parallel()
	data, facts, history := unpackBefore(t)
	audit := start(t, binary, "audit", "replay", "--data", data, "--format", "ndjson", "--time-zone", "UTC", "--quiet")
	audit.wait(t)
	if got := audit.said(); got != history {
		t.Errorf("the history reads\n%s\nwant\n%s", got, history)
	}
	s := serve(t, binary, data)
	facts.check(t, s, "")
	if code := s.stop(t); code != 0 {
		t.Fatalf("the service ended with status %d: %s", code, tail(s.said(), 3000))
	}
	for _, name := range []string{"projections.db", "projections.db-wal", "projections.db-shm"} {
		remove(name)(t, data)
	}
	s = serve(t, binary, data)
	facts.check(t, s, ", from read models that were made again")

	olga := s.login(t, "olga")
	olga.must("DELETE", "/shares/"+facts.Share+"/devices/front-door", nil, nil)
	if code := facts.describe(t, s, "/front-door/1", facts.Key, facts.Secret); code != 404 {
		t.Errorf("after it was taken back DESCRIBE is answered %d", code)
	}
}

// check asks for everything again that the older version was asked for.
func (f before) check(t *testing.T, s *service, from string) {
	t.Helper()
	users := map[string]*user{"olga": s.login(t, "olga"), "rita": s.login(t, "rita")}
	if len(f.Answers) < 16 {
		t.Fatalf("only %d answers are known", len(f.Answers))
	}
	for question, want := range f.Answers {
		who, path, _ := strings.Cut(question, " ")
		var got any
		users[who].must("GET", path, nil, &got)
		if account, ok := got.(map[string]any); ok && path == "/accounts/me" {
			delete(account, "quotas") // what is counted by time begins again
		}
		if !holds(got, want) {
			t.Errorf("%s is answered%s\n%v\nwant\n%v", question, from, got, want)
		}
	}
	// Its camera is not there: whoever may watch is told so, and nobody else.
	for path, want := range map[string]int{"/front-door/1": 503, "/porch/1": 503, "/garage/1": 404, "/old-cam/1": 404, "/front-door/2": 403} {
		if code := f.describe(t, s, path, f.Key, f.Secret); code != want {
			t.Errorf("DESCRIBE %s is answered %d%s, want %d", path, code, from, want)
		}
	}
	if code := f.describe(t, s, "/front-door/1", f.RevokedKey, f.RevokedSecret); code != 401 {
		t.Errorf("a revoked stream key is answered %d%s", code, from)
	}
}

// holds reports whether an answer has everything that the older version answered, as it
// was. Objects may have more fields, lists no more entries.
func holds(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		for name, value := range want {
			ok = ok && holds(got[name], value)
		}
		return ok
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return false
		}
		for i := range want {
			if !holds(got[i], want[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(got, want)
}

func (f before) describe(t *testing.T, s *service, path, key, secret string) int {
	t.Helper()
	v, err := dialRaw(s.rtsp, path, key+":"+secret)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	r, err := v.describe()
	if err != nil {
		t.Fatal(err)
	}
	return r.status
}
