package vault_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"latchkey/internal/vault"
)

// TestLastUsesAreKeptAndForgotten: a use shows at once, is written once a minute, and is
// forgotten with the key, the device, the account, or after a year.
func TestLastUsesAreKeptAndForgotten(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx := context.Background()
		c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		v, err := vault.Open(ctx, db, vault.NewMasterKey(), c.now)
		if err != nil {
			t.Fatal(err)
		}
		use := func(device, account, key string, channel int) {
			v.NoteStreamUse(vault.StreamUse{Device: device, Account: account, Key: key, Channel: channel, Privileges: 1, At: c.t})
		}
		want := func(when, device string, want ...string) {
			t.Helper()
			list, err := v.StreamUses(ctx, device)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, u := range list {
				if u.At.Second() != 0 || u.Privileges != 1 {
					t.Errorf("%s: %+v", when, u)
				}
				got = append(got, fmt.Sprintf("%s %s %d %s", u.Account, u.Key, u.Channel, u.At.Format("15:04")))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		write := func() {
			t.Helper()
			if err := v.NoteStreamUses(ctx); err != nil {
				t.Fatal(err)
			}
		}
		rows := func() (n int) {
			if err := db.NewRaw("SELECT count(*) FROM vault_stream_uses").Scan(ctx, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		wantBy := func(when string, devices, accounts []string, want ...string) {
			t.Helper()
			list, err := v.StreamUsesBy(ctx, devices, accounts)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, u := range list {
				got = append(got, fmt.Sprintf("%s %s%s %d %s", u.Device, u.Account, u.Key, u.Channel, u.At.Format("15:04")))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		wantBy("nothing asked", nil, []string{"rita"})
		use("cam", "rita", "k1", 1)
		wantBy("before it is written", []string{"cam", "dvr"}, []string{"rita", "olga"}, "cam rita 1 03:04")
		want("before it is written", "cam", "rita  1 03:04", "rita k1 1 03:04")
		write()
		use("cam", "rita", "k1", 2) // in the same minute: not again
		write()
		want("written", "cam", "rita  1 03:04", "rita k1 1 03:04")
		c.t = c.t.Add(time.Minute)
		use("cam", "rita", "k2", 2)
		use("dvr", "olga", "k3", 1)
		want("a minute later", "cam", "rita  2 03:05", "rita k2 2 03:05", "rita k1 1 03:04")
		write()
		want("written again", "cam", "rita  2 03:05", "rita k2 2 03:05", "rita k1 1 03:04")
		wantBy("of both", []string{"cam", "dvr"}, []string{"rita", "olga"}, "dvr olga 1 03:05", "cam rita 2 03:05")
		wantBy("of one device", []string{"dvr"}, []string{"rita", "olga"}, "dvr olga 1 03:05")
		wantBy("of one account", []string{"cam", "dvr"}, []string{"rita"}, "cam rita 2 03:05")
		if n := rows(); n != 5 {
			t.Errorf("%d rows", n)
		}
		c.t = c.t.Add(time.Minute)
		use("cam", "rita", "k1", 3)
		if err := v.ForgetStreamSecret(ctx, "k1"); err != nil {
			t.Fatal(err)
		}
		write()
		want("after the key was revoked", "cam", "rita  3 03:06", "rita k2 2 03:05")
		if err := v.ForgetCamera(ctx, "dvr"); err != nil {
			t.Fatal(err)
		}
		want("after the device was removed", "dvr")
		use("cam", "olga", "k3", 1)
		use("cam", "rita", "k2", 1)
		if err := v.Forget(ctx, "rita"); err != nil {
			t.Fatal(err)
		}
		write()
		want("after the account was closed", "cam", "olga  1 03:06", "olga k3 1 03:06")
		c.t = c.t.Add(366 * 24 * time.Hour)
		if err := v.DropOldStreamUses(ctx); err != nil {
			t.Fatal(err)
		}
		if n := rows(); n != 0 {
			t.Errorf("%d rows after a year", n)
		}
	})
}

// TestAUseShowsWhileItIsWritten: at no moment is a use in neither place.
func TestAUseShowsWhileItIsWritten(t *testing.T) {
	databases(t, func(t *testing.T, db *bun.DB) {
		ctx := context.Background()
		v, err := vault.Open(ctx, db, vault.NewMasterKey(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		const devices = 40
		device := func(n int) string { return fmt.Sprint("cam", n) }
		var noted atomic.Int64
		wrote := make(chan error, 1)
		go func() {
			for n := range devices {
				v.NoteStreamUse(vault.StreamUse{Device: device(n), Account: "rita", Channel: 1, Privileges: 1, At: time.Now()})
				noted.Add(1)
				if err := v.NoteStreamUses(ctx); err != nil {
					wrote <- err
					return
				}
			}
			wrote <- nil
		}()
		for {
			if n := noted.Load(); n > 0 {
				if list, err := v.StreamUses(ctx, device(int(n)-1)); err != nil || len(list) != 1 {
					t.Fatalf("device %d: %+v, %v", n-1, list, err)
				}
			}
			select {
			case err := <-wrote:
				if err != nil {
					t.Fatal(err)
				}
				return
			default:
			}
		}
	})
}
