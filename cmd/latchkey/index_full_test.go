package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"latchkey/eventstore"
	"latchkey/internal/app"
	"latchkey/projections/access"
)

// fullRows is a read model that has given every number, two of them.
type fullRows struct{}

func (fullRows) LoadPrivileges(_ context.Context, l access.Loader) (eventstore.Position, eventstore.Mark, error) {
	l.Account(1, "olga")
	l.Device(1, "cam", 1, true)
	l.Device(2, "dvr", 1, true)
	return 1, eventstore.Mark{}, nil
}

// TestIndexFullRefuses: no event that needs a number reaches the log while there is
// none, and every other goes on.
func TestIndexFullRefuses(t *testing.T) {
	t.Parallel()
	away, err := eventstore.Open(eventstore.Config{Target: "unix://" + filepath.Join(t.TempDir(), "nobody")})
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	x, err := access.New(access.Config{Source: fullRows{}, Log: away, MaxStaleness: time.Minute, Numbers: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if err := x.WaitFor(ctx, 1); err != nil {
		t.Fatal(err)
	}
	soon, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	for name, refused := range map[string]bool{
		"latchkey.device.added.v1": true, "latchkey.share.accepted.v1": true, "latchkey.stream_key.added.v1": true,
		"latchkey.device.removed.v1": false, "latchkey.share.left.v1": false, "latchkey.share.invited.v1": false,
	} {
		_, err := appLog{away, x}.Append(soon, "a stream", -1, []app.Pending{{Type: name, Data: []byte("{}")}})
		if err == nil || errors.Is(err, app.ErrIndexFull) != refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
