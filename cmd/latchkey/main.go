// Command latchkey shares cameras and recorders between accounts: the service, its
// embedded log, a simulated camera, and the operator's and auditor's tools. This package
// wires the other packages together; it has no rules of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the whole command line. Every flag has an environment variable
// (LATCHKEY_ and its name) and a key of the same name in the --config file.
type cli struct {
	Config string `placeholder:"FILE" help:"YAML file with the values of flags, by their names."`

	Serve       serveCommand       `cmd:"" help:"Run the service: REST API and RTSP door."`
	Doctor      doctorCommand      `cmd:"" help:"Say what is wrong with ports, clock, TLS, candidates, store and database."`
	Demo        demoCommand        `cmd:"" help:"Show the main job: a simulated camera, two accounts, a share, a stream."`
	Node        nodeCommand        `cmd:"" help:"Run the embedded EventStoreDB node alone."`
	Camera      cameraCommand      `cmd:"" help:"Run the simulated camera and recorder."`
	Audit       auditCommand       `cmd:"" help:"Read the history of shares from the log."`
	Projections projectionsCommand `cmd:"" help:"Look at the read models, or rebuild one."`
	Account     accountCommand     `cmd:"" help:"Create an account."`
	Root        rootCommand        `cmd:"" help:"Show the certificate authority of --https, and a QR code of where to get it."`
	Backup      backupCommand      `cmd:"" help:"Copy the log, the vault and its key while the service runs."`
	Restore     restoreCommand     `cmd:"" help:"Make a data folder from a backup."`
	Recover     recoverCommand     `cmd:"" help:"Continue with a log that lost its end."`
	Version     versionCommand     `cmd:"" help:"Print the version of this build."`
}

// streams are where a command reads and writes; tests replace them.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	// The heap is small compared to the events that pass through: collecting it rarely
	// costs little memory and saves a third of the work.
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(400)
	}
	syscall.Umask(0o077) // files created here are not for other users
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// run parses the arguments and runs the command; it returns the exit status: 0, 1 for a
// command that failed, 2 for invalid arguments.
func run(ctx context.Context, args []string, env func(string) (string, bool), std streams) int {
	var c cli
	exit := -1
	file, err := readConfigFile(args, env)
	if err != nil {
		fmt.Fprintf(std.err, "latchkey: %v\n", err)
		return 2
	}
	parser, err := kong.New(&c,
		kong.Name("latchkey"),
		kong.Description("Share cameras and recorders, with exactly the privileges you choose, and take them back at once."),
		kong.UsageOnError(),
		kong.Writers(std.out, std.err),
		kong.Exit(func(code int) { exit = code }),
		kong.DefaultEnvars("LATCHKEY"),
		kong.Resolvers(file.resolver(env)),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)
	if err != nil {
		fmt.Fprintf(std.err, "latchkey: %v\n", err)
		return 2
	}
	command, err := parser.Parse(joinNegatives(args))
	if exit >= 0 { // --help
		return exit
	}
	var notParsed *kong.ParseError
	if errors.As(err, &notParsed) {
		command = notParsed.Context
	}
	if err := file.faultsOf(parser, command, env, err); err != nil {
		fmt.Fprintf(std.err, "latchkey: %v\n", err)
		return 2
	}
	if err := command.Run(); err != nil {
		var faults *configFaults
		if errors.As(err, &faults) {
			fmt.Fprintf(std.err, "latchkey: %v\n", err)
			return 2
		}
		fmt.Fprintf(std.err, "latchkey: %s\n", oneLine(err))
		return 1
	}
	return 0
}

// oneLine returns the text of an error on one line, even if it is several errors.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
