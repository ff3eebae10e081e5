package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	for want, info := range map[string]*debug.BuildInfo{
		"latchkey (devel), commit unknown, go": {},
		"latchkey v1.2.3, commit abc of 2026-01-02T03:04:05Z, with changes, go": {
			Main: debug.Module{Version: "v1.2.3"},
			Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
			},
		},
	} {
		if got := versionOf(info); !strings.HasPrefix(got, want) {
			t.Errorf("%q does not begin with %q", got, want)
		}
	}
	var out, errs strings.Builder
	noEnv := func(string) (string, bool) { return "", false }
	if exit := run(t.Context(), []string{"version"}, noEnv, streams{out: &out, err: &errs}); exit != 0 || !strings.HasPrefix(out.String(), "latchkey ") {
		t.Errorf("latchkey version ends with %d: %s%s", exit, out.String(), errs.String())
	}
}
