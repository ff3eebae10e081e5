package api

import (
	"bytes"
	"encoding/json"
	"io"
)

// tokens reads JSON text token by token. Error: io.EOF at its end.
type tokens interface {
	Token() (json.Token, error)
}

// tokensOf returns the tokens of JSON text. Those of valid text are read several times as
// fast; of other text the library finds the first fault.
func tokensOf(raw []byte) tokens {
	if json.Valid(raw) {
		return &validTokens{rest: raw}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d
}

// validTokens reads the tokens of one valid JSON text: delimiters and names of fields, and
// nil for each other value.
type validTokens struct {
	rest []byte
}

// Token returns the next token.
func (t *validTokens) Token() (json.Token, error) {
	t.skip(" \t\r\n:,")
	if len(t.rest) == 0 {
		return nil, io.EOF
	}
	switch c := t.rest[0]; c {
	case '{', '}', '[', ']':
		t.rest = t.rest[1:]
		return json.Delim(c), nil
	case '"':
		return t.text()
	}
	end := bytes.IndexAny(t.rest, ",]} \t\r\n")
	if end < 0 {
		end = len(t.rest)
	}
	t.rest = t.rest[end:]
	return nil, nil
}

func (t *validTokens) skip(these string) {
	for len(t.rest) > 0 && bytes.IndexByte([]byte(these), t.rest[0]) >= 0 {
		t.rest = t.rest[1:]
	}
}

// text reads a text, and returns it if it is the name of a field.
func (t *validTokens) text() (json.Token, error) {
	end, escaped := 1, false
	for t.rest[end] != '"' {
		if t.rest[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	quoted := t.rest[:end+1]
	t.rest = t.rest[end+1:]
	t.skip(" \t\r\n")
	if len(t.rest) == 0 || t.rest[0] != ':' {
		return nil, nil
	}
	if !escaped {
		return string(quoted[1:end]), nil
	}
	var name string
	err := json.Unmarshal(quoted, &name)
	return name, err
}
