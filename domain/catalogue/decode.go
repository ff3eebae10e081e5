package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// decoderOf returns a decoder of the stored form of a T. The fast path reads what Encode
// writes; anything else takes the slow path, so the results are the same.
func decoderOf[T any]() func(data []byte) (T, error) {
	quick := layoutOf(reflect.TypeFor[T]())
	return func(data []byte) (T, error) {
		var v T
		if quick != nil {
			if quick.scan(string(data), reflect.ValueOf(&v).Elem()) {
				return v, nil
			}
			var none T
			v = none
		}
		if err := decodeStrictly(data, &v); err != nil {
			var none T
			rest, ignored := withoutIgnorable(data, reflect.TypeFor[T]())
			if !ignored {
				return none, err
			}
			v = none
			if err := decodeStrictly(rest, &v); err != nil {
				return none, err
			}
		}
		return v, nil
	}
}

// decodeStrictly refuses fields that the type does not have: an unknown field may be one
// that restricts.
func decodeStrictly(data []byte, v any) error {
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '{' { // null would be an event of zero values
		return errors.New("not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// ignorable is the prefix of field names that a build may ignore if it does not know
// them.
const ignorable = "_"

// withoutIgnorable returns an object without the ignorable fields that the type does not
// have; ok is false if it has none.
func withoutIgnorable(data []byte, t reflect.Type) (rest []byte, ok bool) {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, false
	}
	var out bytes.Buffer
	out.WriteByte('{')
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, false
		}
		if name := key.(string); strings.HasPrefix(name, ignorable) && !hasField(t, name) {
			ok = true
			continue
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		name, err := json.Marshal(key)
		if err != nil {
			return nil, false
		}
		fmt.Fprintf(&out, "%s:%s", name, value)
	}
	if _, err := d.Token(); err != nil { // the end of the object
		return nil, false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	out.WriteByte('}')
	return out.Bytes(), ok
}

// hasField reports whether encoding/json finds a field of that name, ignoring case.
func hasField(t reflect.Type, name string) bool {
	for i := range t.NumField() {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if strings.EqualFold(tag, name) {
			return true
		}
	}
	return false
}
