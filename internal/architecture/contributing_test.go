package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// paths are what stands between backquotes and looks like a file or a folder.
var paths = regexp.MustCompile("`([a-z][a-zA-Z0-9_.-]*(?:/[a-zA-Z0-9_.-]+)+/?)`")

// TestDocumentsNameFilesThatExist: whoever looks for an answer finds the file.
func TestDocumentsNameFilesThatExist(t *testing.T) {
	for name, least := range map[string]int{"CONTRIBUTING.md": 25, "docs/architecture.md": 10} {
		raw, err := os.ReadFile(filepath.Join("../..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		found := paths.FindAllStringSubmatch(string(raw), -1)
		if len(found) < least {
			t.Errorf("%s names only %d files", name, len(found))
		}
		for _, m := range found {
			if strings.HasPrefix(m[1], "latchkey/") {
				continue // a command
			}
			if _, err := os.Stat(filepath.Join("../..", filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s names %s: %v", name, m[1], err)
			}
		}
	}
}
