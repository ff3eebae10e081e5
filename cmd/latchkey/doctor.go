package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

// doctorCommand says what is wrong with the machine and the configuration of a service,
// whether it runs or not. It changes nothing.
type doctorCommand struct {
	settings
	JSON bool `name:"json" env:"LATCHKEY_DOCTOR_JSON" help:"Print the findings as JSON, one object a line."`
}

// Help returns additional text for --help.
func (*doctorCommand) Help() string {
	return `Give it the flags, the environment or the file of the service. It is fine while the service runs. The exit status is 1 if there is a problem, and 0 with warnings alone.

  latchkey doctor --data /var/lib/latchkey --https 0.0.0.0:443 --acme latchkey.example.com`
}

// state is how grave a finding is.
type state string

const (
	fine    state = "ok"
	warning state = "warning"
	problem state = "problem"
)

// finding is what a check has found.
type finding struct {
	Check string `json:"check"`
	State state  `json:"state"`
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"` // what to do about it
}

func ok(check, format string, args ...any) finding {
	return finding{Check: check, State: fine, Text: fmt.Sprintf(format, args...)}
}

func (f finding) but(s state, do string) finding {
	f.State, f.Do = s, do
	return f
}

// checkWithin limits each check.
const checkWithin = 10 * time.Second

// doctor looks at one service.
type doctor struct {
	o       options
	running running // what a running service says

	// What tests replace.
	now  func() time.Time
	free func(dir string) (bytes uint64, err error)
}

// Run prints what it finds.
func (c *doctorCommand) Run(ctx context.Context, std streams) error {
	o, err := c.check()
	var faults *configFaults
	if errors.As(err, &faults) {
		var list []finding
		for _, f := range faults.list {
			list = append(list, ok("configuration", "%s", f).but(problem, "Correct it; the rest was not looked at."))
		}
		return report(std.out, list, c.JSON)
	}
	if err != nil {
		return err
	}
	d := &doctor{o: o, now: time.Now, free: freeIn}
	return report(std.out, d.examine(ctx), c.JSON)
}

// examine makes all checks, at the same time, and returns their findings in a fixed order.
func (d *doctor) examine(ctx context.Context) []finding {
	d.running = d.findRunning(ctx)
	checks := []func(context.Context) []finding{
		d.configuration, d.service, d.ports, d.clock, d.tls, d.candidates, d.eventStore, d.database, d.folder, d.disk, d.descriptors, d.messages,
	}
	found := make([][]finding, len(checks))
	var all errgroup.Group
	for i, check := range checks {
		all.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, checkWithin)
			defer cancel()
			found[i] = check(ctx)
			return nil
		})
	}
	_ = all.Wait() // they return no errors
	var list []finding
	for _, f := range found {
		list = append(list, f...)
	}
	return list
}

// errProblems is returned if something is wrong.
var errProblems = errors.New("there are problems")

// report prints the findings; an error if one is a problem.
func report(to io.Writer, list []finding, asJSON bool) error {
	var wrong error
	for _, f := range list {
		if f.State == problem {
			wrong = errProblems
		}
		if asJSON {
			line, err := json.Marshal(f)
			if err != nil {
				return fmt.Errorf("writing a finding: %w", err)
			}
			fmt.Fprintf(to, "%s\n", line)
			continue
		}
		fmt.Fprintf(to, "%-8s %-14s %s\n", f.State, f.Check, f.Text)
		if f.Do != "" {
			fmt.Fprintf(to, "%-23s %s\n", "", f.Do)
		}
	}
	return wrong
}

// configuration is right: it was checked before.
func (d *doctor) configuration(context.Context) []finding {
	list := []finding{ok("configuration", "it is readable and fits together")}
	if d.o.strangers && d.o.HTTPS == "" && len(d.o.trustedProxies) == 0 {
		list = append(list, ok("configuration", "other machines reach the portal by plain HTTP").but(warning,
			"Browsers let pages use the microphone and web push by HTTPS only: add --https 0.0.0.0:443, and see latchkey root."))
	}
	if d.o.verify && len(d.o.senders) == 0 {
		list = append(list, ok("configuration", "addresses must be verified, and nothing sends codes").but(warning,
			"Set --mail or --sms-hook, or --verification off on a closed network."))
	}
	return list
}
