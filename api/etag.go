package api

import (
	"strconv"
	"strings"
)

// etag is the strong entity tag of a revision.
func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// ifMatch reads If-Match: nil for none and for *, which whatever is there
// fulfils. A tag that no share ever has, a weak one among them (RFC 9110,
// 13.1.1), is revision -1, which never matches.
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

// noneMatch says whether If-None-Match names the revision. The comparison is
// the weak one (RFC 9110, 13.1.2).
func noneMatch(header string, revision int64) (bool, error) {
	tags, err := entityTags("If-None-Match", header)
	if err != nil {
		return false, err
	}
	for _, tag := range tags {
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag(revision) {
			return true, nil
		}
	}
	return false, nil
}

func revisionOf(tag string) (int64, bool) {
	n, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	return n, err == nil && n >= 0 && etag(n) == tag
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
			return nil, invalidHeader(name, "is no list of entity tags")
		}
		tags = append(tags, tag)
		after = strings.TrimLeft(after, " \t")
		if after == "" {
			return tags, nil
		}
		if after[0] != ',' {
			return nil, invalidHeader(name, "is no list of entity tags")
		}
		rest = strings.TrimLeft(after[1:], " \t")
	}
}

// cutTag takes the first entity tag off a list.
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
