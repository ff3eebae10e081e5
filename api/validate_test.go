package api

import (
	"bytes"
	"encoding/json"
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
		"empty":            {"", "application/json", 400, "malformed_body"},
		"no JSON":          {"{", "application/json", 400, "malformed_body"},
		"two values":       {`{"login":"a","password":"b"} {}`, "application/json", 400, "malformed_body"},
		"not UTF-8":        {"{\"login\":\"\xff\",\"password\":\"b\"}", "application/json", 400, "malformed_body"},
		"no media type":    {`{"login":"a","password":"b"}`, "", 415, "unsupported_media_type"},
		"another":          {`{"login":"a","password":"b"}`, "text/plain", 415, "unsupported_media_type"},
		"another charset":  {`{"login":"a","password":"b"}`, "application/json; charset=latin1", 415, "unsupported_media_type"},
		"too large":        {`{"login":"` + strings.Repeat("a", MaxBody) + `"}`, "application/json", 413, "body_too_large"},
		"an array":         {`[]`, "application/json", 422, "invalid_body"},
		"null":             {`null`, "application/json", 422, "invalid_body"},
		"a field too few":  {`{"login":"a"}`, "application/json", 422, "invalid_body"},
		"a field too many": {`{"login":"a","password":"b","admin":true}`, "application/json", 422, "invalid_body"},
		"in another case":  {`{"Login":"a","password":"b"}`, "application/json", 422, "invalid_body"},
		"of another type":  {`{"login":1,"password":"b"}`, "application/json", 422, "invalid_body"},
		"a text too long":  {`{"login":"a","password":"` + strings.Repeat("b", 257) + `"}`, "application/json", 422, "invalid_body"},
		"deep":             {strings.Repeat("[", 4000), "application/json", 400, "malformed_body"},
		"a field null":     {`{"login":null,"password":"b"}`, "application/json", 422, "invalid_body"},
		"half a surrogate": {`{"login":"\ud800","password":"b"}`, "application/json", 400, "malformed_body"},
		"the wrong half":   {`{"login":"\udc00\ud800","password":"b"}`, "application/json", 400, "malformed_body"},
		"half at the end":  {`{"login":"\\\ud800`, "application/json", 400, "malformed_body"},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request("POST", path, "", c.body)
			r.Header.Set("Content-Type", c.media)
			w.wantProblem(w.send(r), c.status, c.code)
		})
	}
}

func TestACompressedBodyIsRefused(t *testing.T) {
	w := newWorld(t)
	r := w.request("POST", "/api/v1/sessions", "", `{"login":"a","password":"b"}`)
	r.Header.Set("Content-Encoding", "gzip")
	w.wantProblem(w.send(r), 415, "unsupported_media_type")
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

func TestNamesGivenTwice(t *testing.T) {
	w := newWorld(t)
	for body, field := range map[string]string{
		`{"login":"a","login":"b","password":"c"}`:      "/login",
		`{"login":"a","password":"c","\u006cogin":"a"}`: "/login",
		`{"":1,"":2}`: "/",
	} {
		p := w.wantProblem(w.do("POST", "/api/v1/sessions", "", body), 400, "malformed_body")
		if len(p.Errors) != 1 || p.Errors[field] != "It is given twice." {
			t.Errorf("%s: %v, want %s", body, p.Errors, field)
		}
	}
	w.wantProblem(w.do("POST", "/api/v1/sessions", "", `{"login":"login","password":"login"}`), 401, "invalid_credentials")
	w.wantProblem(w.do("POST", "/api/v1/sessions", "", `{"login":`+strings.Repeat("[", maxDepth+1)), 400, "malformed_body")
}

// FuzzNamesGivenTwice: a body is taken only if writing what was read gives as
// many names as were sent, and reading the names never fails where the body is
// fine.
func FuzzNamesGivenTwice(f *testing.F) {
	for _, seed := range []string{`{"a":1,"a":2}`, `{"a":{"a":[{"a":1}]}}`, `{"a":"a","b":["a","a"]}`, `{"a":1,"\u0061":2}`, `[{"a":1},{"a":1}]`, `{} {}`, `"a"`, `{"a"`, `{"\ud800":1,"\ud801":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		value, err := decodeBody([]byte(body), anything)
		if err != nil {
			return
		}
		again, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if sent, kept := countNames(t, []byte(body)), countNames(t, again); sent != kept {
			t.Fatalf("%s has %d names, %s has %d", body, sent, again, kept)
		}
	})
}

// countNames counts the names and strings of a JSON text.
func countNames(t *testing.T, raw []byte) (n int) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := decoder.Token()
		if err != nil {
			return n
		}
		if _, ok := token.(string); ok {
			n++
		}
	}
}

// TestLittleIsRepeated: however long a name is that a caller sent, the answer is
// short.
func TestLittleIsRepeated(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("n", 900_000)
	for name, a := range map[string]answer{
		"a field":       w.do("POST", "/api/v1/sessions", "", `{"`+long+`":1}`),
		"a field twice": w.do("POST", "/api/v1/sessions", "", `{"`+long[:400_000]+`":1,"`+long[:400_000]+`":1}`),
		"a value":       w.do("POST", "/api/v1/sessions", "", `{"login":"`+long+`","password":"`+long[:100]+`"}`),
		"a parameter":   w.do("POST", "/api/v1/sessions?"+long[:60_000]+"=1", "", `{"login":"a","password":"b"}`),
		"a fault":       w.do("POST", "/api/v1/accounts", "", `{"email":"`+long[:250]+`","password":"correct horse"}`),
	} {
		if len(a.body) > 2000 || a.StatusCode < 400 {
			t.Errorf("%s: %d with %d bytes", name, a.StatusCode, len(a.body))
		}
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
