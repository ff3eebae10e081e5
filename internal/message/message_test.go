package message

import (
	"strings"
	"testing"
)

// TestEveryLanguageSaysEverything: each has every message of the default one, with the
// code in it where that one has it.
func TestEveryLanguageSaysEverything(t *testing.T) {
	list, err := all()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 2 || len(list[Default]) < 3 || len(Languages()) != len(list) {
		t.Fatalf("languages %v", Languages())
	}
	v := Values{Code: "12345678", Minutes: 15}
	for language, of := range list {
		for what := range list[Default] {
			if _, ok := of[what]; !ok {
				t.Errorf("%s has no message %s", language, what)
			}
			want, err := Of(what, Default, v)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Of(what, language, v)
			if err != nil || (got.Subject == "") != (want.Subject == "") || (got.Body == "") != (want.Body == "") || (got.Short == "") != (want.Short == "") || strings.Contains(got.Short, v.Code) != strings.Contains(want.Short, v.Code) ||
				strings.Contains(got.Body, v.Code) != strings.Contains(want.Body, v.Code) || strings.ContainsAny(got.Subject, "\r\n") {
				t.Errorf("%s %s: %+v, %v", language, what, got, err)
			}
		}
	}
	if got, err := Of("verify", "tlh", v); err != nil || !strings.HasPrefix(got.Body, "Your code") {
		t.Errorf("an unknown language: %+v, %v", got, err)
	}
	if _, err := Of("no such", "de", v); err == nil {
		t.Error("a message that there is not")
	}
}
