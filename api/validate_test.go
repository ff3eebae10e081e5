package api

import (
	"strings"
	"testing"
)

func TestBodiesThatAreNone(t *testing.T) {
	w := newWorld(t)
	const path = "/api/v1/sessions"
	for name, c := range map[string]struct {
		body   string
		media  string
		status int
		code   string
	}{
		"empty":             {"", "application/json", 400, "malformed_body"},
		"no JSON":           {"{", "application/json", 400, "malformed_body"},
		"two values":        {`{"login":"a","password":"b"} {}`, "application/json", 400, "malformed_body"},
		"not UTF-8":         {"{\"login\":\"\xff\",\"password\":\"b\"}", "application/json", 400, "malformed_body"},
		"no media type":     {`{"login":"a","password":"b"}`, "", 415, "unsupported_media_type"},
		"another":           {`{"login":"a","password":"b"}`, "text/plain", 415, "unsupported_media_type"},
		"too large":         {`{"login":"` + strings.Repeat("a", MaxBody) + `"}`, "application/json", 413, "body_too_large"},
		"an array":          {`[]`, "application/json", 422, "invalid_body"},
		"null":              {`null`, "application/json", 422, "invalid_body"},
		"a field too few":   {`{"login":"a"}`, "application/json", 422, "invalid_body"},
		"a field too many":  {`{"login":"a","password":"b","admin":true}`, "application/json", 422, "invalid_body"},
		"in another case":   {`{"Login":"a","password":"b"}`, "application/json", 422, "invalid_body"},
		"of another type":   {`{"login":1,"password":"b"}`, "application/json", 422, "invalid_body"},
		"a text too long":   {`{"login":"a","password":"` + strings.Repeat("b", 257) + `"}`, "application/json", 422, "invalid_body"},
		"deep":              {strings.Repeat("[", 200_000), "application/json", 400, "malformed_body"},
		"a field null":      {`{"login":null,"password":"b"}`, "application/json", 422, "invalid_body"},
		"escaped surrogate": {`{"login":"\ud800","password":"` + strings.Repeat("b", 257) + `"}`, "application/json", 422, "invalid_body"},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request("POST", path, "", c.body)
			r.Header.Set("Content-Type", c.media)
			w.wantProblem(w.send(r), c.status, c.code)
		})
	}
}

func TestFaultsNameTheirFields(t *testing.T) {
	w := newWorld(t)
	p := w.wantProblem(w.do("POST", "/api/v1/sessions", "", `{"login":1,"a/b~c":2}`), 422, "invalid_body")
	for _, field := range []string{"/login", "/password"} {
		if p.Errors[field] == "" {
			t.Errorf("%s is not named: %v", field, p.Errors)
		}
	}
}

func TestAFaultDoesNotRepeatTheValue(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", "/api/v1/sessions", "", `{"login":"a","password":"`+strings.Repeat("hunter2", 40)+`"}`)
	w.wantProblem(a, 422, "invalid_body")
	if strings.Contains(string(a.body), "hunter2") || strings.Contains(w.logged.String(), "hunter2") {
		t.Errorf("the password is told: %s", a.body)
	}
}

func TestPointer(t *testing.T) {
	for want, path := range map[string][]string{"": nil, "/a/0": {"a", "0"}, "/a~1b~0c": {"a/b~c"}} {
		if got := pointer(path); got != want {
			t.Errorf("pointer(%q) = %q, want %q", path, got, want)
		}
	}
	if got := pointer([]string{strings.Repeat("ü", 300)}); len(got) > maxFieldLength {
		t.Errorf("a pointer of %d bytes", len(got))
	}
}
