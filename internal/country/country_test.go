package country

import "testing"

func TestAll(t *testing.T) {
	list := All()
	if len(list) < 200 {
		t.Fatalf("%d countries", len(list))
	}
	found := map[string]Country{}
	for i, c := range list {
		if len(c.Code) != 2 || len(c.CallingCode) < 2 || c.CallingCode[0] != '+' || c.English == "" || c.German == "" || i > 0 && list[i-1].Code >= c.Code {
			t.Errorf("%+v", c)
		}
		found[c.Code] = c
	}
	for _, want := range []Country{{"DE", "+49", "Germany", "Deutschland"}, {"US", "+1", "United States", "Vereinigte Staaten"}, {"CN", "+86", "China", "China"}} {
		if found[want.Code] != want {
			t.Errorf("%+v; want %+v", found[want.Code], want)
		}
	}
}

func TestFormats(t *testing.T) {
	for number, want := range map[string][2]string{
		"+4915112345678":   {"01511 2345678", "+49 1511 2345678"},
		"+8618969190000":   {"189 6919 0000", "+86 189 6919 0000"},
		"rita@example.com": {"", ""},
		"+":                {"", ""},
		"":                 {"", ""},
	} {
		if national, international := Formats(number); [2]string{national, international} != want {
			t.Errorf("%s: %q, %q; want %q", number, national, international, want)
		}
	}
}

func FuzzFormats(f *testing.F) {
	f.Add("+4915112345678")
	f.Fuzz(func(_ *testing.T, number string) { Formats(number) })
}
