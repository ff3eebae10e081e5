package vault_test

import (
	"math"
	"strings"
	"testing"

	"latchkey/internal/vault"
)

func TestHiddenNumbers(t *testing.T) {
	n := vault.NewNumbers([]byte("a key"))
	seen := map[string]bool{}
	for _, account := range []string{"olga", "rita"} {
		for _, number := range []int64{0, 1, 42, math.MaxInt64} {
			hidden := n.HideNumber(account, number)
			if got, ok := n.ShowNumber(account, hidden); !ok || got != number || n.HideNumber(account, number) != hidden {
				t.Errorf("%d of %s is %q: %d, %v", number, account, hidden, got, ok)
			}
			if _, ok := n.ShowNumber("sam", hidden); ok || seen[hidden] {
				t.Errorf("%q is another's too", hidden)
			}
			if _, ok := vault.NewNumbers([]byte("another")).ShowNumber(account, hidden); ok {
				t.Errorf("%q is shown with another key", hidden)
			}
			seen[hidden] = true
		}
	}
	for _, bad := range []string{"", "42", strings.Repeat("0", 32), strings.Repeat("x", 32), strings.ToUpper(n.HideNumber("olga", 1)), n.HideNumber("olga", 1) + "00", n.HideNumber("olga", -1)} {
		if number, ok := n.ShowNumber("olga", bad); ok {
			t.Errorf("%q is %d", bad, number)
		}
	}
}
