package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// configFile is what the --config file says: flag name to value.
type configFile struct {
	path   string
	values map[string]string
	keys   []string // as they stand in the file
}

// readConfigFile finds --config among the arguments or LATCHKEY_CONFIG in the
// environment and reads the file. It is read before the other arguments, as it
// gives them their defaults.
func readConfigFile(args []string, env func(string) (string, bool)) (*configFile, error) {
	f := &configFile{values: map[string]string{}}
	f.path, _ = env("LATCHKEY_CONFIG")
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if value, ok := strings.CutPrefix(arg, "--config="); ok {
			f.path = value
		}
		if arg == "--config" && i+1 < len(args) {
			f.path = args[i+1]
		}
	}
	if f.path == "" {
		return f, nil
	}
	r, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer r.Close()
	if err := f.read(io.LimitReader(r, 1<<20)); err != nil {
		return nil, fmt.Errorf("reading the configuration %s: %w", f.path, err)
	}
	return f, nil
}

func (f *configFile) read(r io.Reader) error {
	var raw map[string]yaml.Node
	if err := yaml.NewDecoder(r).Decode(&raw); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var faults []error
	for key, node := range raw {
		f.keys = append(f.keys, key)
		switch node.Kind {
		case yaml.ScalarNode:
			f.values[key] = node.Value
		case yaml.SequenceNode:
			var list []string
			if err := node.Decode(&list); err != nil {
				faults = append(faults, fmt.Errorf("%s: want a value or a list of values", key))
			}
			f.values[key] = strings.Join(list, ",")
		default:
			faults = append(faults, fmt.Errorf("%s: want a value or a list of values", key))
		}
	}
	slices.Sort(f.keys)
	return errors.Join(faults...)
}

// resolver gives a flag its value from the file where neither the command line
// nor the environment has one.
func (f *configFile) resolver(env func(string) (string, bool)) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if value, ok := env(name); ok {
				return value, nil
			}
		}
		if value, ok := f.values[flag.Name]; ok {
			return value, nil
		}
		return nil, nil
	})
}

// unknown names every key of the file that is no flag of any command.
func (f *configFile) unknown(app *kong.Application) error {
	known := map[string]bool{}
	var visit func(*kong.Node)
	visit = func(n *kong.Node) {
		for _, flag := range n.Flags {
			known[flag.Name] = true
		}
		for _, child := range n.Children {
			visit(child)
		}
	}
	visit(app.Node)
	var faults []string
	for _, key := range f.keys {
		if !known[key] || key == "config" || key == "help" {
			faults = append(faults, fmt.Sprintf("%s: %q is not a setting", f.path, key))
		}
	}
	if faults == nil {
		return nil
	}
	return &configFaults{faults}
}

// configFaults are all the faults of a configuration.
type configFaults struct{ list []string }

func (f *configFaults) Error() string {
	if len(f.list) == 1 {
		return "configuration: " + f.list[0]
	}
	return "configuration:\n  " + strings.Join(f.list, "\n  ")
}
