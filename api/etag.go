package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// etag returns the strong entity tag of a body at a revision: both are in it, as one
// revision has several bodies (the owner's and the recipient's, and another once a text
// in it was erased).
func etag(revision int64, body any) (string, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("computing an entity tag: %w", err)
	}
	sum := sha256.Sum256(raw)
	return `"` + strconv.FormatInt(revision, 10) + "-" + hex.EncodeToString(sum[:8]) + `"`, nil
}

// ifMatch reads If-Match: nil for none and for *, which anything existing satisfies. A
// tag that no share ever has, including weak ones (RFC 9110, 13.1.1), is revision -1,
// which never matches. A command is compared with the revision in the tag: it changes the
// share, not one of its bodies.
func ifMatch(header string) (*int64, error) {
	tags, err := entityTags("If-Match", header)
	if err != nil || len(tags) == 0 || tags[0] == "*" {
		return nil, err
	}
	if len(tags) > 1 {
		return nil, invalidHeader("If-Match", "names more than one entity tag")
	}
	revision := int64(-1)
	if n, ok := revisionOf(tags[0]); ok {
		revision = n
	}
	return &revision, nil
}

// noneMatch reports whether If-None-Match has the tag, by weak comparison (RFC 9110,
// 13.1.2).
func noneMatch(header, current string) (bool, error) {
	tags, err := entityTags("If-None-Match", header)
	if err != nil {
		return false, err
	}
	for _, tag := range tags {
		if tag == "*" || strings.TrimPrefix(tag, "W/") == current {
			return true, nil
		}
	}
	return false, nil
}

var tagPattern = regexp.MustCompile(`^"(0|[1-9][0-9]*)-[0-9a-f]{16}"$`)

func revisionOf(tag string) (int64, bool) {
	m := tagPattern.FindStringSubmatch(tag)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil
}

// entityTags splits a list of entity tags (RFC 9110, 8.8.3).
func entityTags(name, header string) ([]string, error) {
	rest := strings.Trim(header, " \t")
	if rest == "" || rest == "*" {
		return strings.Fields(rest), nil
	}
	var tags []string
	for {
		tag, after, ok := cutTag(rest)
		if !ok {
			return nil, invalidHeader(name, "is not a list of entity tags")
		}
		tags = append(tags, tag)
		after = strings.TrimLeft(after, " \t")
		if after == "" {
			return tags, nil
		}
		if after[0] != ',' {
			return nil, invalidHeader(name, "is not a list of entity tags")
		}
		rest = strings.TrimLeft(after[1:], " \t")
	}
}

// cutTag cuts the first entity tag off a list.
func cutTag(s string) (tag, after string, ok bool) {
	quoted := strings.TrimPrefix(s, "W/")
	if !strings.HasPrefix(quoted, `"`) {
		return "", "", false
	}
	end := strings.IndexByte(quoted[1:], '"')
	if end < 0 {
		return "", "", false
	}
	length := len(s) - len(quoted) + end + 2
	return s[:length], s[length:], true
}
