package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

// Run prints the version of this build, on one line for people and scripts.
func (versionCommand) Run(std streams) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	_, err := fmt.Fprintln(std.out, versionOf(info))
	return err
}

// versionOf returns the commit of a build, its time, and whether files were changed
// since: "unknown" if the build has no such information.
func versionOf(info *debug.BuildInfo) string {
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	revision, changed := set["vcs.revision"], ""
	if revision == "" {
		revision = "unknown"
	}
	if at := set["vcs.time"]; at != "" {
		revision += " of " + at
	}
	if set["vcs.modified"] == "true" {
		changed = ", with changes"
	}
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	return fmt.Sprintf("latchkey %s, commit %s%s, %s %s/%s", version, revision, changed, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
