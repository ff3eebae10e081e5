package architecture

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// frozen is an event that somebody adds: it takes privileges away.
const frozen = `package share

import (
	"latchkey/domain/event"
	"latchkey/domain/ids"
)

type Frozen struct {
	Share  string ` + "`json:\"share\"`" + `
	Device string ` + "`json:\"device\"`" + `
}

func (Frozen) Type() string { return "latchkey.share.frozen.v1" }
`

// frozenRest is what the compiler asks for besides.
var frozenRest = map[string]string{
	"Subjects": "func (e Frozen) Subjects() event.Subjects { return event.Subjects{Share: e.Share, Device: e.Device} }\n",
	"Effect":   "func (e Frozen) Effect() event.Effect { return event.Effect{Kind: event.Cleared, Device: ids.Device(e.Device), Unaccepted: true} }\n",
	"Revokes":  "func (e Frozen) Revokes() event.Revocation { return event.Revocation{Kind: event.ShareDeviceTaken, Share: e.Share, Device: e.Device} }\n",
	"Texts":    "func (e Frozen) Texts(event.ChangeText) event.Event { return e }\n",
	"Sentence": "func (e Frozen) Sentence() string { return \"frozen\" }\n",
	"apply":    "func (e Frozen) apply(*State) {}\n",
}

// TestEventsMustSayWhatTheyDo: an event that somebody adds to the tree does not compile
// while it says nothing of one of the things that readers ask every event.
func TestEventsMustSayWhatTheyDo(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for missing := range frozenRest {
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
	source := frozen
	for name, method := range frozenRest {
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
		filepath.Join(root, "domain/share/frozen.go"): source + "\nvar _ Event = Frozen{}\n",
		list: strings.Replace(string(catalogue), last, last+"\n\tcurrent[share.Frozen](),", 1),
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
