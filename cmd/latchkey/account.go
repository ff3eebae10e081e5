package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/internal/app"
)

// accountCommand is for operators who create accounts themselves.
type accountCommand struct {
	Create accountCreateCommand `cmd:"" help:"Create an account; the password is the first line of standard input."`
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
	line, err := bufio.NewReader(std.in).ReadString('\n')
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return errors.Join(errors.New("the password is read from the first line of standard input, which is empty"), err)
	}
	st, err := c.open(ctx, c.logger(std))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	if err := st.matchVault(ctx, c.logger(std)); err != nil {
		return err
	}
	useCases, err := newUseCases(st, nil, nil, nil, nil, options{})
	if err != nil {
		return err
	}
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

// fieldFaults returns for each field which rule it breaks.
func fieldFaults(e *app.Error) []string {
	var faults []string
	for at, reason := range e.Fields {
		faults = append(faults, "the "+string(at)+" "+reason)
	}
	slices.Sort(faults)
	return faults
}
