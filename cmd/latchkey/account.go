package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"latchkey/internal/app"
)

// accountCommand is for operators who create accounts themselves.
type accountCommand struct {
	Create   accountCreateCommand   `cmd:"" help:"Create an account; the password is the first line of standard input."`
	Password accountPasswordCommand `cmd:"" help:"Set a new password of an account; it is the first line of standard input. Everything that the previous one opened ends."`
}

type accountCreateCommand struct {
	storage
	Logging `embed:""`
	Email   string `placeholder:"ADDRESS" help:"E-mail address of the account; or --phone."`
	Phone   string `placeholder:"NUMBER" help:"Mobile number with its country code, such as +491701234567; or --email."`
	Name    string `required:"" help:"Name of the person."`
}

// Run creates the account and prints its id.
func (c *accountCreateCommand) Run(ctx context.Context, std streams) (err error) {
	if (c.Email == "") == (c.Phone == "") {
		return &configFaults{[]string{"exactly one of --email and --phone is required"}}
	}
	password, err := readPassword(std.in)
	if err != nil {
		return err
	}
	st, useCases, err := openUseCases(ctx, c.storage, c.logger(std))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	done, err := useCases.Accounts.Register(ctx, app.Meta{}, app.Registration{Email: c.Email, Phone: c.Phone, Password: password, Name: c.Name, Vouched: true})
	if e, ok := errors.AsType[*app.Error](err); ok && len(e.Fields) > 0 {
		return &configFaults{fieldFaults(e)}
	}
	if err != nil {
		return fmt.Errorf("creating the account: %w", err)
	}
	fmt.Fprintln(std.out, done.Account)
	return nil
}

type accountPasswordCommand struct {
	storage
	Logging `embed:""`
	Login   string `required:"" placeholder:"LOGIN" help:"E-mail address, mobile number with its country code, or user name of the account."`
}

// Run sets the password.
func (c *accountPasswordCommand) Run(ctx context.Context, std streams) (err error) {
	password, err := readPassword(std.in)
	if err != nil {
		return err
	}
	st, useCases, err := openUseCases(ctx, c.storage, c.logger(std))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	_, err = useCases.Accounts.SetPassword(ctx, app.Meta{}, c.Login, password)
	if e, ok := errors.AsType[*app.Error](err); ok && len(e.Fields) > 0 {
		return &configFaults{fieldFaults(e)}
	}
	if err != nil {
		return fmt.Errorf("setting the password: %w", err)
	}
	fmt.Fprintln(std.out, "The password is set. All sessions, stream keys and codes of the account have ended.")
	return nil
}

// readPassword reads a password from the first line of standard input.
func readPassword(in io.Reader) (string, error) {
	line, err := bufio.NewReader(in).ReadString('\n')
	password := strings.TrimRight(line, "\r\n")
	if password != "" {
		return password, nil
	}
	err = errors.Join(errors.New("the password is read from the first line of standard input, which is empty"), err)
	return "", err
}

// openUseCases opens the log and the vault of a service for a command of its operator.
func openUseCases(ctx context.Context, s storage, logger *slog.Logger) (*opened, app.UseCases, error) {
	st, err := s.open(ctx, logger)
	if err != nil {
		return nil, app.UseCases{}, err
	}
	if err := st.matchVault(ctx, logger); err != nil {
		return nil, app.UseCases{}, errors.Join(err, st.close())
	}
	useCases, err := newUseCases(st, nil, nil, nil, nil, options{})
	if err != nil {
		return nil, app.UseCases{}, errors.Join(err, st.close())
	}
	return st, useCases, nil
}

// fieldFaults returns for each field which rule it breaks.
func fieldFaults(e *app.Error) []string {
	var faults []string
	for at, reason := range e.Fields {
		faults = append(faults, "the "+string(at)+" "+reason)
	}
	slices.Sort(faults)
	return faults
}
