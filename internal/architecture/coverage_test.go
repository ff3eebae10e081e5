package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

var (
	// testsOf finds tests and the packages that they are in: `TestA`, `TestB/sub` (api, cmd/latchkey).
	testsOf = regexp.MustCompile("((?:`Test[A-Za-z0-9_]+[^`]*`(?:, )?)+) \\(([a-z0-9_/, ]+)\\)")
	oneTest = regexp.MustCompile("`(Test[A-Za-z0-9_]+)[^`]*`")
	// requests finds a method and a path; a path alone has the method before it.
	requests = regexp.MustCompile("`((?:GET|POST|PUT|PATCH|DELETE) )?(/[^ `?]*)[^`]*`")
)

// TestCoverageNamesWhatExists: each test that docs/manual-coverage.md names is in its
// package, and each request in the API.
func TestCoverageNamesWhatExists(t *testing.T) {
	raw, err := os.ReadFile("../../docs/manual-coverage.md")
	if err != nil {
		t.Fatal(err)
	}
	api, err := openapi3.NewLoader().LoadFromFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(raw), "\n## ")[1:]
	if len(sections) != 3 {
		t.Fatalf("%d sections", len(sections))
	}
	for _, section := range sections {
		rows := 0
		for line := range strings.Lines(section) {
			if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| sentence") {
				continue
			}
			rows++
			cells := strings.Split(strings.Trim(line, "|\n "), " | ")
			if strings.Contains(line, "| nothing to serve |") {
				continue
			}
			if len(cells) != 3 {
				t.Errorf("not three cells: %s", line)
				continue
			}
			checkTests(t, cells[2])
			checkRequests(t, api, cells[1])
		}
		if rows < 10 {
			t.Errorf("%d rows in %.20s", rows, section)
		}
	}
}

func checkTests(t *testing.T, cell string) {
	t.Helper()
	found := 0
	for _, group := range testsOf.FindAllStringSubmatch(cell, -1) {
		for _, test := range oneTest.FindAllStringSubmatch(group[1], -1) {
			found++
			for pkg := range strings.SplitSeq(group[2], ", ") {
				if !hasTest(t, pkg, test[1]) {
					t.Errorf("there is no %s in %s", test[1], pkg)
				}
			}
		}
	}
	if all := len(oneTest.FindAllString(cell, -1)); found == 0 || found != all {
		t.Errorf("%d of %d tests have a package: %s", found, all, cell)
	}
}

func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		raw, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(raw), "\nfunc "+name+"(")
	})
}

func checkRequests(t *testing.T, api *openapi3.T, cell string) {
	t.Helper()
	method, before := "", ""
	for _, r := range requests.FindAllStringSubmatch(cell, -1) {
		if r[1] != "" {
			method = strings.TrimSpace(r[1])
		}
		path := r[2]
		if path == "/api/v1" {
			continue
		}
		beside := before[:max(0, strings.LastIndex(before, "/"))] + path // such as `/reject` after `.../accept`
		exists := func(path string) bool {
			item := api.Paths.Find("/api/v1" + path)
			if item == nil {
				item = api.Paths.Find(path)
			}
			return item != nil && (method == "" || item.GetOperation(method) != nil)
		}
		switch {
		case exists(path):
			before = path
		case r[1] == "" && exists(beside):
			before = beside
		default:
			t.Errorf("the API has no %s %s", method, path)
		}
	}
}
