package ids

import "testing"

func TestPublishes(t *testing.T) {
	for name, want := range map[Key]int{
		PublishingKey(1, "abcdefghij23"): 1, PublishingKey(511, "kk"): 511,
		"kabcdefghij23": 0, "": 0, "p": 0, "pk": 0, "p0kabc": 0, "p-1kabc": 0, "p01kabc": 0, "p+1kabc": 0, "p1abc": 0, "kp1kabc": 0,
	} {
		if got := name.Publishes(); got != want {
			t.Errorf("%q publishes to %d, want %d", name, got, want)
		}
	}
}
