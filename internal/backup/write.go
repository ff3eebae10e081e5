package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"latchkey/domain/device"
	"latchkey/eventstore"
	"latchkey/internal/vault"
)

// Source is the data for a backup.
type Source struct {
	Log   *eventstore.Client
	Vault *bun.DB          // the database of the vault
	Key   *vault.MasterKey // nil: not included
	Tool  string           // the version of latchkey
	Now   func() time.Time // nil: time.Now
	// Progress is called after each event and row; it may be nil.
	Progress func(Progress)
}

// Progress is how far a backup or restore is.
type Progress struct {
	Position, Head eventstore.Position // in the log
	Events, Rows   uint64
}

// Report describes a written backup.
type Report struct {
	Header
	Trailer
	// Cameras are devices of the log whose camera is missing from the vault.
	Cameras []string
}

// errHead ends the reading of the log at the recorded head.
var errHead = errors.New("the head is reached")

// Write writes an archive of the log as of the call, and then of the vault, which may be
// newer: data that the log refers to was written to the vault first, except for cameras,
// which Write waits for. The service may be running.
func Write(ctx context.Context, src Source, w io.Writer) (Report, error) {
	if src.Now == nil {
		src.Now = time.Now
	}
	if src.Progress == nil {
		src.Progress = func(Progress) {}
	}
	id, err := src.Log.Identify(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("backing up the log: %w", err)
	}
	b := &writing{Source: src, live: map[string]bool{}}
	if b.head, err = headOf(ctx, src.Log); err != nil {
		return Report{}, fmt.Errorf("backing up the log: %w", err)
	}
	h := Header{Tool: src.Tool, Created: src.Now().UTC().Truncate(time.Second), Log: id, Head: b.head}
	if b.archive, err = NewWriter(w, h); err != nil {
		return Report{}, err
	}
	if err := b.writeLog(ctx); err != nil {
		return Report{}, err
	}
	missing, err := b.writeVault(ctx)
	if err != nil {
		return Report{}, err
	}
	if src.Key != nil {
		if err := b.archive.Key(*src.Key); err != nil {
			return Report{}, err
		}
	}
	t, err := b.archive.Close()
	return Report{Header: h, Trailer: t, Cameras: missing}, err
}

// headOf returns the position of the last event of the log.
func headOf(ctx context.Context, log *eventstore.Client) (head eventstore.Position, err error) {
	err = log.Tail(ctx, 1, func(r eventstore.Recorded) bool { head = r.Position; return false })
	return head, err
}

// writing is a backup in progress.
type writing struct {
	Source
	archive *Writer
	head    eventstore.Position
	at      Progress
	live    map[string]bool // devices that are in an account, by the log
}

func (b *writing) writeLog(ctx context.Context) error {
	b.at.Head = b.head
	var last eventstore.Position
	for last < b.head {
		before := last
		err := b.Log.ReadAll(ctx, last, "", func(r eventstore.Recorded) error {
			if r.Position > b.head {
				return errHead
			}
			last = r.Position
			return b.event(r)
		})
		if err != nil && !errors.Is(err, errHead) {
			return fmt.Errorf("backing up the log: %w", err)
		}
		if last == before {
			return fmt.Errorf("backing up the log: it ended at position %d, but had an event at %d before", last, b.head)
		}
	}
	return nil
}

func (b *writing) event(r eventstore.Recorded) error {
	switch r.Type {
	case "latchkey.device.added.v1":
		var e device.Added
		if err := json.Unmarshal(r.Data, &e); err != nil {
			return fmt.Errorf("reading position %d: %w", r.Position, err)
		}
		b.live[e.Device] = true
	case "latchkey.device.removed.v1":
		var e device.Removed
		if err := json.Unmarshal(r.Data, &e); err != nil {
			return fmt.Errorf("reading position %d: %w", r.Position, err)
		}
		delete(b.live, e.Device)
	}
	b.at.Position = r.Position
	b.at.Events++
	b.Progress(b.at)
	return b.archive.Event(eventOf(r))
}

// A device is in the log before its camera is in the vault.
const (
	camerasWithin = 5 * time.Second
	camerasAgain  = 100 * time.Millisecond
)

// writeVault writes one state of the vault that has the cameras of the log's devices, and
// returns those still missing.
func (b *writing) writeVault(ctx context.Context) (missing []string, err error) {
	deadline := time.Now().Add(camerasWithin)
	for {
		complete := false
		err := vault.Snapshot(ctx, b.Vault, func(ctx context.Context, tx bun.Tx) error {
			if missing, err = b.missingCameras(ctx, tx); err != nil {
				return err
			}
			if len(missing) > 0 && time.Now().Before(deadline) {
				return nil
			}
			complete = true
			return vault.Dump(ctx, tx, func(r vault.Row) error {
				b.at.Rows++
				b.Progress(b.at)
				return b.archive.Row(r)
			})
		})
		if err != nil {
			return nil, fmt.Errorf("backing up the vault: %w", err)
		}
		if complete {
			return missing, nil
		}
		select {
		case <-time.After(camerasAgain):
		case <-ctx.Done():
			return nil, fmt.Errorf("backing up the vault: %w", ctx.Err())
		}
	}
}

// missingCameras returns the devices that are still in an account and whose camera is
// missing from the vault.
func (b *writing) missingCameras(ctx context.Context, tx bun.Tx) (missing []string, err error) {
	known, err := vault.CamerasIn(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(b.live)) {
		if known[id] {
			continue
		}
		gone, err := b.removedSince(ctx, id)
		if err != nil {
			return nil, err
		}
		if gone {
			delete(b.live, id)
			continue
		}
		missing = append(missing, id)
	}
	return missing, nil
}

// removedSince reports whether a device was removed after the head.
func (b *writing) removedSince(ctx context.Context, id string) (gone bool, err error) {
	serial, _, _ := strings.Cut(id, ".")
	err = b.Log.Load(ctx, "device-"+serial, func(r eventstore.Recorded) error {
		var e device.Removed
		if r.Type != "latchkey.device.removed.v1" {
			return nil
		}
		err := json.Unmarshal(r.Data, &e)
		gone = gone || e.Device == id
		return err
	})
	return gone, err
}
