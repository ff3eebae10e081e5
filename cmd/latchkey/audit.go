package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"latchkey/eventstore"
	"latchkey/internal/audit"
	"latchkey/internal/backup"
	"latchkey/internal/journal"
)

// auditCommand is for people who must be able to say what happened. It sees no video.
type auditCommand struct {
	Replay auditReplayCommand `cmd:"" help:"Play the history of shares, oldest first, straight from the log."`
}

type auditReplayCommand struct {
	storage
	Logging `embed:""`

	Share    string `env:"LATCHKEY_AUDIT_SHARE" placeholder:"ID" help:"Only events of this share."`
	Device   string `env:"LATCHKEY_AUDIT_DEVICE" placeholder:"ID" help:"Only events of this device."`
	Account  string `env:"LATCHKEY_AUDIT_ACCOUNT" placeholder:"ID" help:"Only events that this account caused or that concern it."`
	From     string `env:"LATCHKEY_AUDIT_FROM" placeholder:"TIME" help:"Only events at or after this time: 2026-01-02T15:04:05Z, 2026-01-02T15:04 or 2026-01-02."`
	To       string `env:"LATCHKEY_AUDIT_TO" placeholder:"TIME" help:"Only events before this time."`
	TimeZone string `default:"UTC" placeholder:"NAME" help:"Time zone for the times read and written, such as Europe/Berlin or Local (${default})."`
	Format   string `default:"timeline" enum:"timeline,ndjson" help:"timeline, or ndjson: one JSON object a line (${default})."`
	Quiet    bool   `help:"Do not report progress."`
}

// Run writes the history to standard output and its progress to standard error.
func (c *auditReplayCommand) Run(ctx context.Context, std streams) (err error) {
	filter, zone, err := c.filter()
	if err != nil {
		return err
	}
	st, end, err := c.openToRead(ctx, c.logger(std))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := st.refuseCut(ctx, filepath.Join(c.Data, journalName)); err != nil {
		return err
	}

	out := bufio.NewWriterSize(std.out, 64<<10)
	write := func(e audit.Entry) error { return audit.WriteTimeline(out, e, zone) }
	if c.Format == "ndjson" {
		enc := json.NewEncoder(out)
		write = func(e audit.Entry) error { return enc.Encode(e) }
	}
	p, err := c.progress(ctx, st.log, std.err)
	if err != nil {
		return err
	}
	err = audit.Replay(ctx, st.log, auditText{st.vault}, filter, p.seen, func(e audit.Entry) error {
		p.written++
		return write(e)
	})
	if err = errors.Join(err, out.Flush()); err != nil {
		return err
	}
	p.done()
	return nil
}

// refuseCut refuses a log from which events that its companions have seen are missing: a
// history without its end is not one.
func (p *opened) refuseCut(ctx context.Context, journalPath string) error {
	derived, err := p.derived(ctx)
	if err != nil {
		return err
	}
	if j, err := journal.Read(journalPath); err == nil { // without one there are fewer marks to compare
		derived = append(derived, backup.Derived{Name: "the journal of revocations", Mark: j.Last()})
	}
	for _, d := range derived {
		err := p.log.Holds(ctx, d.Mark)
		switch {
		case errors.Is(err, eventstore.ErrLogCut), errors.Is(err, eventstore.ErrOtherLog):
			return fmt.Errorf("%s has seen position %d of another copy of the log: %w: put the newer log back, or run latchkey recover", d.Name, d.Mark.Position, err)
		case errors.Is(err, eventstore.ErrUnavailable):
			return err
		}
	}
	return nil
}

func (c *auditReplayCommand) filter() (audit.Filter, *time.Location, error) {
	f := audit.Filter{Share: c.Share, Device: c.Device, Account: c.Account}
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return f, nil, &configFaults{[]string{"--time-zone: " + err.Error()}}
	}
	var faults []string
	for _, t := range []struct {
		flag, text string
		into       *time.Time
	}{{"from", c.From, &f.From}, {"to", c.To, &f.To}} {
		if t.text == "" {
			continue
		}
		if *t.into, err = audit.ParseTime(t.text, zone); err != nil {
			faults = append(faults, "--"+t.flag+": "+err.Error())
		}
	}
	if faults == nil && !f.To.IsZero() && !f.From.Before(f.To) {
		faults = append(faults, "--to: the time is not after --from")
	}
	if faults != nil {
		return f, nil, &configFaults{faults}
	}
	return f, zone, nil
}

// replayProgress reports the progress of a long replay, every two seconds.
type replayProgress struct {
	w             io.Writer
	head          eventstore.Position
	read, written int
	next          time.Time
	told          bool
}

const progressEvery = 2 * time.Second

func (c *auditReplayCommand) progress(ctx context.Context, log *eventstore.Client, w io.Writer) (*replayProgress, error) {
	if c.Quiet {
		w = io.Discard
	}
	head, err := headOf(ctx, log)
	return &replayProgress{w: w, head: head, next: time.Now().Add(progressEvery)}, err
}

// headOf returns the position of the last event of the log, 0 for none.
func headOf(ctx context.Context, log *eventstore.Client) (head eventstore.Position, err error) {
	err = log.Tail(ctx, 1, func(r eventstore.Recorded) bool { head = r.Position; return false })
	if err != nil {
		return 0, fmt.Errorf("finding the end of the log: %w", err)
	}
	return head, nil
}

func (p *replayProgress) seen(position eventstore.Position) {
	p.read++
	if p.read%1024 != 0 || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(progressEvery)
	p.told = true
	fmt.Fprintf(p.w, "%3.0f %%: %d events read, %d chosen\n", 100*float64(position)/float64(max(p.head, 1)), p.read, p.written)
}

func (p *replayProgress) done() {
	if p.told || p.written == 0 {
		fmt.Fprintf(p.w, "%d events read, %d chosen\n", p.read, p.written)
	}
}
