package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"

	"latchkey/eventstore"
	"latchkey/eventstore/node"
	"latchkey/internal/backup"
	"latchkey/internal/descriptors"
	"latchkey/projections"
)

// recoverCommand continues with a log that lost its end.
type recoverCommand struct {
	storage
	Logging `embed:""`
	since
	Yes bool `env:"LATCHKEY_RECOVER_YES" help:"Accept the loss. Without it nothing is changed, and the loss is reported."`
}

// Help returns additional text for --help.
func (*recoverCommand) Help() string {
	return `For a log that lacks its end: after damage to a disk, or because an older copy was put in place. If the newer log still exists, put that back instead.

What the lost events gave is gone. What they took back is taken back again, as the journals of revocations say: those in the data folder, unless --journal names others. Without a journal that reaches as far as the log was seen, recover stops and asks. Sessions end, and the read models are made from the log again when the service starts.

Stop every service of this log first.`
}

// Run reports what is lost, and with --yes accepts it.
func (c *recoverCommand) Run(ctx context.Context, std streams) (err error) {
	without, err := c.without()
	if err != nil {
		return err
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	names, journals, err := c.journals(std.err)
	if err != nil {
		return err
	}
	logger := c.logger(std)
	acknowledged, err := c.acknowledged(journals, without, logger)
	if err != nil {
		return err
	}
	st, err := c.openLossy(ctx, o, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	derived, err := st.derived(ctx)
	if err != nil {
		return err
	}
	loss, err := backup.FindLoss(ctx, st.log, append(derived, journals.Derived(names)...))
	if errors.Is(err, eventstore.ErrOtherLog) || errors.Is(err, eventstore.ErrNoIdentity) {
		return fmt.Errorf("%w: recover cannot help: correct the data folder or the connection string, or restore a backup", err)
	}
	if err != nil {
		return err
	}
	if acknowledged > 0 {
		loss.Seen = max(loss.Seen, acknowledged)
		loss.By = append(loss.By, backup.Derived{Name: "the node itself", Mark: eventstore.Mark{Identity: loss.Log, Position: acknowledged}})
	}
	if len(loss.By) == 0 {
		if err := st.log.ReadAll(ctx, 0, "", func(eventstore.Recorded) error { return nil }); err != nil {
			return fmt.Errorf("the log is complete up to its end at position %d, but a part of it cannot be read, and recover cannot help: restore a backup: %w", loss.Head, err)
		}
		fmt.Fprintf(std.err, "nothing is lost: the log ends at position %d and has every event that was seen\n", loss.Head)
		return nil
	}
	tellLoss(std.err, loss)
	if !c.Yes {
		return errors.New("nothing was changed: put the newer log back, or accept the loss with --yes")
	}
	return c.recover(ctx, std.err, st, loss, journals, without)
}

// journals reads the journals of revocations: the named ones, or those in the data
// folder.
func (c *recoverCommand) journals(w io.Writer) (names []string, list backup.Journals, err error) {
	names = c.Journal
	if len(names) == 0 {
		if names, err = filepath.Glob(filepath.Join(c.Data, journalNames)); err != nil {
			return nil, nil, fmt.Errorf("looking for journals of revocations: %w", err)
		}
	}
	list, err = readJournals(w, names)
	return names, list, err
}

// acknowledged returns the last position that the embedded log is known to have
// acknowledged but lost, 0 for none. With --yes it first makes sure that the revocations
// after the log's end are known.
func (c *recoverCommand) acknowledged(journals backup.Journals, without backup.Without, logger *slog.Logger) (eventstore.Position, error) {
	if c.Eventstore != "embedded" {
		return 0, nil
	}
	dir := filepath.Join(c.Data, backup.LogName)
	n, err := node.Open(node.Config{Dir: dir, ReadOnly: true, Logger: logger})
	if errors.Is(err, node.ErrLocked) {
		return 0, errors.New("a service or node is running on this log: stop it first")
	}
	var loss *node.LossError
	switch {
	case err == nil:
		return 0, n.Close()
	case !errors.As(err, &loss) && c.Yes && errors.Is(err, node.ErrDamaged):
		return 0, nil // the node continues with the complete part, if possible
	case !errors.As(err, &loss):
		return 0, err
	case !c.Yes:
		return 0, fmt.Errorf("%w: %d positions are lost (nothing was changed; --yes accepts it)", err, loss.Acknowledged-loss.Last)
	}
	last := eventstore.Position(loss.Acknowledged)
	reached := slices.ContainsFunc(derivedMarks(journals), func(m eventstore.Mark) bool { return m.Position >= last })
	if !reached && without == backup.Refuse {
		return 0, fmt.Errorf("%w: the log acknowledged position %d%s", backup.ErrNoJournal, last, askForJournal)
	}
	return last, nil
}

func derivedMarks(js backup.Journals) []eventstore.Mark {
	marks := make([]eventstore.Mark, len(js))
	for i, j := range js {
		marks[i] = j.Last()
	}
	return marks
}

// openLossy opens everything, the embedded log as far as it is complete. Without --yes it
// is opened read-only.
func (c *recoverCommand) openLossy(ctx context.Context, o options, logger *slog.Logger) (_ *opened, err error) {
	st := &opened{logger: logger, descriptors: descriptors.NewWatch()}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.close())
		}
	}()
	target := c.Eventstore
	if target == "embedded" {
		socket, err := filepath.Abs(filepath.Join(c.Data, "eventstore.sock"))
		if err != nil {
			return nil, fmt.Errorf("resolving the node's socket path: %w", err)
		}
		target = "unix://" + socket
		config := node.Config{Dir: filepath.Join(c.Data, backup.LogName), Logger: logger, AcceptLoss: c.Yes, ReadOnly: !c.Yes}
		if st.node, err = serveNode(config, socket); err != nil {
			return nil, err
		}
	}
	if st.log, err = eventstore.Open(eventstore.Config{Target: target, Logger: logger}); err != nil {
		return nil, err
	}
	if st.store, err = projections.Open(ctx, projections.OpenConfig{Database: o.Database, Dir: o.Data, Logger: logger}); err != nil {
		return nil, err
	}
	if err := st.findVault(ctx, o, logger); err != nil {
		return nil, err
	}
	if st.vault == nil {
		return nil, o.vaultMissing()
	}
	return st, nil
}

// derived returns how far the data kept with the log has seen it.
func (p *opened) derived(ctx context.Context) ([]backup.Derived, error) {
	marks, err := p.store.Marks(ctx)
	if err != nil {
		return nil, err
	}
	var list []backup.Derived
	for _, name := range slices.Sorted(maps.Keys(marks)) {
		list = append(list, backup.Derived{Name: "the read model " + name, Mark: marks[name]})
	}
	m, err := vaultMark(ctx, p.vault)
	if err != nil {
		return nil, err
	}
	return append(list, backup.Derived{Name: "the vault", Mark: m}), nil
}

func tellLoss(w io.Writer, l backup.Loss) {
	fmt.Fprintf(w, "the log ends at position %d, and was seen up to position %d: ", l.Head, l.Seen)
	if n := l.Lost(); n > 0 {
		fmt.Fprintf(w, "%d positions are lost\n", n)
	} else {
		fmt.Fprintln(w, "other events are in the place of the lost ones")
	}
	for _, d := range l.By {
		fmt.Fprintf(w, "  %s has seen position %d\n", d.Name, d.Mark.Position)
	}
}

func (c *recoverCommand) recover(ctx context.Context, w io.Writer, st *opened, loss backup.Loss, journals backup.Journals, without backup.Without) error {
	uc, err := restoredUseCases(st.log, st.vault)
	if err != nil {
		return err
	}
	r := backup.Recovery{
		Log: st.log, Vault: st.vault, UseCases: uc, Loss: loss, Journals: journals, Without: without, Mark: vaultMark, SetMark: setVaultMark,
	}
	if !c.KeepSessions {
		r.EndSessions = func(ctx context.Context) error {
			return st.vault.EndAllSessions(ctx, 0)
		}
	}
	done, err := backup.Recover(ctx, r)
	if errors.Is(err, backup.ErrNoJournal) {
		err = fmt.Errorf("%w%s", err, askForJournal)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "the loss is accepted; the log is in epoch %d now\n", done.Epoch)
	tellRepeated(w, done.Repeated, done.Erased)
	fmt.Fprintln(w, "the read models are rebuilt from the log when the service starts")
	return nil
}
