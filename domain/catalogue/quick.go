package catalogue

import (
	"reflect"
	"strings"
	"time"

	"latchkey/domain/privilege"
)

// sharedText is the size in bytes of the largest text that is kept in memory as a whole
// as long as one of its strings is used. The strings of a larger one are copied.
const sharedText = 1 << 10

// layout describes how Encode writes the fields of a struct: in order, without white
// space or escapes. It is derived from the struct's tags, so it cannot differ from the
// struct.
type layout struct {
	fields []fieldLayout
}

type fieldLayout struct {
	name     string // as written: "login":
	kind     fieldKind
	optional bool    // left out if it is zero
	elem     *layout // of a list
}

type fieldKind uint8

const (
	textField fieldKind = iota
	numberField
	timeField
	setField
	boolField
	listField
	rareField // read by encoding/json; an event that has it is not read quickly
)

// layoutOf returns the layout of a struct, or nil if it has a field of a kind that the
// fast path does not support.
func layoutOf(t reflect.Type) *layout {
	l := &layout{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			return nil
		}
		out := fieldLayout{name: `"` + name + `":`, optional: options != ""}
		switch {
		case f.Type == reflect.TypeFor[time.Time]():
			out.kind = timeField
		case f.Type == reflect.TypeFor[privilege.Set]():
			out.kind = setField
		case f.Type.Kind() == reflect.Bool:
			out.kind = boolField
		case f.Type.Kind() == reflect.String:
			out.kind = textField
		case f.Type.Kind() == reflect.Int, f.Type.Kind() == reflect.Int64:
			out.kind = numberField
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			out.kind = listField
			if out.elem = layoutOf(f.Type.Elem()); out.elem == nil {
				out.kind = rareField
			}
		default:
			out.kind = rareField
		}
		if out.kind == rareField && !out.optional {
			return nil
		}
		l.fields = append(l.fields, out)
	}
	return l
}

// scan reads a whole text into v. It returns false if the text is not as Encode writes
// it; v is then partly filled.
func (l *layout) scan(text string, v reflect.Value) bool {
	s := scanner{rest: text, apart: len(text) > sharedText}
	s.object(l, v)
	return !s.bad && s.rest == ""
}

// scanner reads the canonical form from rest. After the first deviation, bad is set, and
// its results are meaningless.
type scanner struct {
	rest  string
	bad   bool
	apart bool // strings are copied
}

func (s *scanner) object(l *layout, v reflect.Value) {
	s.need("{")
	first := true
	for i := range l.fields {
		f := &l.fields[i]
		before := s.rest
		if (!first && !s.take(",")) || !s.take(f.name) {
			s.rest = before
			if !f.optional {
				s.bad = true
			}
			if s.bad {
				return
			}
			continue
		}
		first = false
		s.field(f, v.Field(i))
	}
	s.need("}")
}

func (s *scanner) field(f *fieldLayout, v reflect.Value) {
	switch f.kind {
	case textField:
		v.SetString(s.quoted())
	case numberField:
		v.SetInt(s.number())
	case setField:
		v.SetUint(uint64(s.set()))
	case boolField:
		is := s.take("true")
		if !is {
			s.need("false")
		}
		v.SetBool(is)
	case timeField:
		t := v.Addr().Interface().(*time.Time)
		if text := s.quoted(); s.bad || t.UnmarshalText([]byte(text)) != nil {
			s.bad = true
		}
	case listField:
		s.list(f.elem, v)
	case rareField:
		s.bad = true
	}
	if f.optional && v.IsZero() { // it would not have been written
		s.bad = true
	}
}

func (s *scanner) list(elem *layout, v reflect.Value) {
	s.need("[")
	v.Set(reflect.MakeSlice(v.Type(), 0, 1))
	for more := !s.take("]"); more && !s.bad; more = s.more() {
		n := v.Len()
		v.Grow(1)
		v.SetLen(n + 1)
		v.Index(n).SetZero()
		s.object(elem, v.Index(n))
	}
}

// take reports whether the prefix follows, and consumes it.
func (s *scanner) take(prefix string) bool {
	rest, ok := strings.CutPrefix(s.rest, prefix)
	s.rest = rest
	return ok
}

func (s *scanner) need(prefix string) {
	if !s.take(prefix) {
		s.bad = true
	}
}

// more reports whether another element of the list follows.
func (s *scanner) more() bool {
	if s.take(",") {
		return true
	}
	s.need("]")
	return false
}

// quoted reads a string of printable ASCII without escapes.
func (s *scanner) quoted() string {
	s.need(`"`)
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			v := s.rest[:i]
			s.rest = s.rest[i+1:]
			if s.apart {
				return strings.Clone(v)
			}
			return v
		case c == '\\' || c < ' ' || c > '~':
			s.bad = true
			return ""
		}
	}
	s.bad = true
	return ""
}

// maxDigits is the number of digits that the fast path reads: any such number fits.
const maxDigits = 9

// number reads a number without a sign or leading zeros.
func (s *scanner) number() int64 {
	n, i := int64(0), 0
	for ; i < len(s.rest) && i <= maxDigits && s.rest[i] >= '0' && s.rest[i] <= '9'; i++ {
		n = 10*n + int64(s.rest[i]-'0')
	}
	if i == 0 || i > maxDigits || i > 1 && s.rest[0] == '0' {
		s.bad = true
		return 0
	}
	s.rest = s.rest[i:]
	return n
}

func (s *scanner) set() privilege.Set {
	s.need("[")
	var set privilege.Set
	for more := !s.take("]"); more && !s.bad; more = s.more() {
		p, known := privilege.Named(s.quoted())
		if !known || set.Has(p) {
			s.bad = true
		}
		set |= p
	}
	return set
}
