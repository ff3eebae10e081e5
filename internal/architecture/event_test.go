package architecture

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// paused is an event that somebody adds: it takes privileges away.
const paused = `package share

import "latchkey/domain/event"

type Paused struct {
	Share  string ` + "`json:\"share\"`" + `
	Device string ` + "`json:\"device\"`" + `
}

func (Paused) Type() string { return "latchkey.share.paused.v1" }
`

// pausedRest is what the compiler asks for besides.
var pausedRest = map[string]string{
	"Subjects": "func (e Paused) Subjects() event.Subjects { return event.Subjects{Share: e.Share, Device: e.Device} }\n",
	"Effect":   "func (e Paused) Effect() event.Effect { return event.Effect{Kind: event.Cleared, Device: e.Device, Unaccepted: true} }\n",
	"Revokes":  "func (e Paused) Revokes() event.Revocation { return event.Revocation{Kind: event.ShareDeviceTaken, Share: e.Share, Device: e.Device} }\n",
	"Texts":    "func (e Paused) Texts(event.ChangeText) event.Event { return e }\n",
	"Sentence": "func (e Paused) Sentence() string { return \"paused\" }\n",
	"apply":    "func (e Paused) apply(*State) {}\n",
}

// TestEventsMustSayWhatTheyDo: an event that somebody adds to the tree does not compile
// while it says nothing of one of the things that readers ask every event.
func TestEventsMustSayWhatTheyDo(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for missing := range pausedRest {
		if out, err := buildWith(t, root, missing); err == nil || !strings.Contains(out, missing) {
			t.Errorf("an event without %s compiles: %v\n%s", missing, err, out)
		}
	}
	if out, err := buildWith(t, root, ""); err != nil {
		t.Errorf("an event that says everything does not compile: %v\n%s", err, out)
	}
}

// buildWith builds a copy of the tree to which the event was added, less one of its
// methods.
func buildWith(t *testing.T, root, missing string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	source := paused
	for name, method := range pausedRest {
		if name != missing {
			source += method
		}
	}
	list := filepath.Join(root, "domain/catalogue/catalogue.go")
	catalogue, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	const last = "current[share.Deleted](),"
	if strings.Count(string(catalogue), last) != 1 {
		t.Fatalf("%s does not list %s", list, last)
	}
	replaced := map[string]string{}
	for path, text := range map[string]string{
		filepath.Join(root, "domain/share/paused.go"): source + "\nvar _ Event = Paused{}\n",
		list: strings.Replace(string(catalogue), last, last+"\n\tcurrent[share.Paused](),", 1),
	} {
		replaced[path] = filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(replaced[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", file, "./domain/catalogue")
	build.Dir = root
	out, err := build.CombinedOutput()
	return string(out), err
}
