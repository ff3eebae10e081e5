package device

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Version is a firmware version, such as "V5.5.71 build 180723".
type Version struct {
	numbers []int // 5, 5, 71
	build   int   // 180723; 0: unknown
}

// versionPattern finds the version and, as devices write it in several ways, the build: a
// date of six to eight digits.
var versionPattern = regexp.MustCompile(`(?i)(?:^|[^0-9.])v?([0-9]{1,9}(?:\.[0-9]{1,9}){0,7})(?:.*?(?:build|[ _-])[ _:]*([0-9]{6,8})(?:[^0-9]|$))?`)

// ParseVersion reads a version; ok is false if there is none in the text.
func ParseVersion(text string) (v Version, ok bool) {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return Version{}, false
	}
	for part := range strings.SplitSeq(m[1], ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return Version{}, false
		}
		v.numbers = append(v.numbers, n)
	}
	if m[2] != "" {
		v.build, _ = strconv.Atoi(m[2]) // digits only
	}
	return v, true
}

// Before reports whether v is older than other. Missing numbers are 0. Builds are compared
// if the numbers are equal and other has one; an unknown build is older than any.
func (v Version) Before(other Version) bool {
	for i := range max(len(v.numbers), len(other.numbers)) {
		if a, b := at(v.numbers, i), at(other.numbers, i); a != b {
			return a < b
		}
	}
	return v.build < other.build
}

func at(numbers []int, i int) int {
	if i < len(numbers) {
		return numbers[i]
	}
	return 0
}

// FirmwarePolicy is the oldest firmware with which a device may be shared, for each model.
// The zero value allows every firmware.
type FirmwarePolicy struct{ rules []firmwareRule }

type firmwareRule struct {
	pattern string // of models, in lower case, with * and ?
	minimum Version
	text    string // as the operator wrote it
}

// NewFirmwarePolicy makes a policy from the minimum of each pattern of models, such as
// "DS-2CD*": "V5.5.71 build 180723". It reports every fault together.
func NewFirmwarePolicy(minimum map[string]string) (FirmwarePolicy, error) {
	var p FirmwarePolicy
	var faults []error
	for pattern, text := range minimum {
		v, ok := ParseVersion(text)
		if !ok {
			faults = append(faults, fmt.Errorf("%s: %q is not a version such as V5.5.71 build 180723", pattern, text))
		}
		pattern = strings.ToLower(strings.TrimSpace(pattern))
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" || strings.ContainsAny(pattern, "/") {
			faults = append(faults, fmt.Errorf("%q is not a pattern of models such as DS-2CD*", pattern))
		}
		p.rules = append(p.rules, firmwareRule{pattern, v, strings.TrimSpace(text)})
	}
	// The longest pattern that matches applies.
	slices.SortFunc(p.rules, func(a, b firmwareRule) int {
		return (len(b.pattern)-len(a.pattern))*2 + strings.Compare(a.pattern, b.pattern)
	})
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return p, errors.Join(faults...)
}

// Needed returns the firmware that the device needs before it can be shared, "" if what it
// has is new enough. A firmware that is not known is not new enough for any minimum.
func (p FirmwarePolicy) Needed(f Facts) string {
	model := strings.ReplaceAll(strings.ToLower(f.Model), "/", "-")
	for _, r := range p.rules {
		if match, _ := path.Match(r.pattern, model); !match {
			continue
		}
		if has, ok := ParseVersion(f.Firmware); ok && !has.Before(r.minimum) {
			return ""
		}
		return r.text
	}
	return ""
}
