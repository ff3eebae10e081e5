// Package quota counts what each account has and does, and refuses what exceeds its
// quotas. They stop a runaway program or a stolen account; normal use stays far below
// them.
package quota

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/memory"
)

// The quotas that are checked by the API, not by a use case.
const (
	Sessions = "sessions"
	Requests = "requests" // at once
	Commands = "commands" // per second
)

// Quota is one quota.
type Quota struct {
	Name string
	// Per is the period of a rate; 0 for an amount.
	Per  time.Duration
	Most int // the default limit
}

const day = 24 * time.Hour

// All returns every quota, in the order in which the API lists them.
func All() []Quota {
	return []Quota{
		{Name: app.QuotaDevices, Most: 25_000},
		{Name: app.QuotaShares, Most: 25_000},
		{Name: app.QuotaStreamKeys, Most: 100},
		{Name: Sessions, Most: 1_000},
		{Name: Requests, Most: 64},
		{Name: Commands, Per: time.Second, Most: 1_000},
		{Name: app.QuotaInvitations, Per: time.Hour, Most: 20_000},
		{Name: app.QuotaKeysMade, Per: time.Hour, Most: 2_000},
		{Name: app.QuotaAdditions, Per: day, Most: 50_000},
		{Name: app.QuotaGenerations, Per: day, Most: 100},
		{Name: app.QuotaRequests, Per: day, Most: 50},
		{Name: app.QuotaLogBytes, Per: day, Most: 256 << 20},
	}
}

// Limits are the limits of each quota.
type Limits map[string]int

// Parse reads a configuration such as "devices=100,log_bytes=1GiB"; quotas not named have
// their default. The error describes what is wrong with the text.
func Parse(text string) (Limits, error) {
	limits := Limits{}
	var names, given []string
	for _, q := range All() {
		limits[q.Name] = q.Most
		names = append(names, q.Name)
	}
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		name, value, ok := strings.Cut(part, "=")
		if !ok || !slices.Contains(names, name) {
			return nil, fmt.Errorf("%q is not a quota and its limit, such as devices=100; the quotas are %s", part, strings.Join(names, ", "))
		}
		n, err := amount(name, value)
		if err != nil {
			return nil, err
		}
		if slices.Contains(given, name) {
			return nil, fmt.Errorf("%s is given more than once", name)
		}
		limits[name], given = n, append(given, name)
	}
	return limits, nil
}

// amount reads a whole number of at least 1; for bytes it may be a size.
func amount(name, value string) (int, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil && name == app.QuotaLogBytes {
		n, err = memory.Size(value)
	}
	if err != nil || n < 1 || n > math.MaxInt32*1024 {
		return 0, fmt.Errorf("%q is not a limit for %s: want a whole number of at least 1", value, name)
	}
	return int(n), nil
}
