package vault_test

import (
	"context"
	"maps"
	"testing"
)

func TestStreamSecretsAreListed(t *testing.T) {
	v, db, _ := fresh(t)
	ctx := context.Background()
	for key, secret := range map[string]string{"k1": "s1", "k2": "s2", "k3": "s3"} {
		if err := v.SetStreamSecret(ctx, key, secret); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.ForgetStreamSecret(ctx, "k2"); err != nil {
		t.Fatal(err)
	}
	list := func(most int) map[string]string {
		got := map[string]string{}
		if err := v.StreamSecrets(ctx, most, func(key, secret string) { got[key] = secret }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := list(10); !maps.Equal(got, map[string]string{"k1": "s1", "k3": "s3"}) {
		t.Errorf("listed %v", got)
	}
	if got := list(1); len(got) != 1 {
		t.Errorf("%d listed, want 1 at most", len(got))
	}
	if _, err := db.ExecContext(ctx, "UPDATE vault_secrets SET value = ? WHERE id = 'k1'", []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	if got := list(10); !maps.Equal(got, map[string]string{"k3": "s3"}) {
		t.Errorf("listed %v with a damaged one", got)
	}
}
