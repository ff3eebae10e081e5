package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"latchkey/projections/engine"
)

// projectionsCommand is for operators of the read models.
type projectionsCommand struct {
	Status  projectionsStatusCommand  `cmd:"" help:"Show how far each read model is behind the log."`
	Rebuild projectionsRebuildCommand `cmd:"" help:"Rebuild a read model from the log next to the old one, and swap them."`
}

type projectionsStatusCommand struct {
	storage
	Logging `embed:""`
	JSON    bool `name:"json" help:"Print JSON."`
}

// Run prints a line for each read model.
func (c *projectionsStatusCommand) Run(ctx context.Context, std streams) (err error) {
	st, err := c.open(ctx, c.logger(std))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	head, err := headOf(ctx, st.log)
	if err != nil {
		return err
	}
	list, err := st.store.Status(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	w := tabwriter.NewWriter(std.out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "the log is at position %d\n\nNAME\tSTATE\tPOSITION\tBEHIND\tROWS\tUPDATED\n", head)
	for _, s := range list {
		state := s.State
		if s.Rebuilding {
			state += ", rebuilding"
		}
		if s.Error != "" {
			state += ": " + s.Error
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", s.Projection, state, s.Position, s.Lag(head), s.Rows, s.Updated.UTC().Format(time.RFC3339))
	}
	return w.Flush()
}

type projectionsRebuildCommand struct {
	storage
	Logging `embed:""`
	Name    string `arg:"" help:"sent_shares, received_shares, share_history, devices, accounts or privileges."`
}

// Run rebuilds one read model and reports its progress on standard error.
func (c *projectionsRebuildCommand) Run(ctx context.Context, std streams) (err error) {
	st, err := c.open(ctx, c.logger(std))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	next := time.Now().Add(progressEvery)
	err = st.store.Rebuild(ctx, c.Name, st.log, func(p engine.RebuildProgress) {
		if time.Now().Before(next) {
			return
		}
		next = time.Now().Add(progressEvery)
		fmt.Fprintf(std.err, "%s: position %d of %d\n", c.Name, p.Position, p.Head)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(std.err, "%s was rebuilt\n", c.Name)
	return nil
}
