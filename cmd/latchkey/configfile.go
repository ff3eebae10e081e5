package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"

	"latchkey/internal/regular"
)

// configFile is the content of the --config file: flag name to value.
type configFile struct {
	path   string
	values map[string]string
	keys   []string // as written in the file
}

// readConfigFile finds --config among the arguments or LATCHKEY_CONFIG in the environment
// and reads the file. It is read before the other arguments, because it sets their
// defaults.
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
	r, err := regular.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer r.Close()
	if err := f.read(io.LimitReader(r, 1<<20)); err != nil {
		return nil, fmt.Errorf("reading the configuration %s: %w", f.path, err)
	}
	info, err := r.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && f.holdsPassword() {
		return nil, fmt.Errorf("reading the configuration: %s holds a password and may be read by others (mode %v): make it 0600", f.path, mode)
	}
	return f, nil
}

// holdsPassword reports whether a value is an address with a password.
func (f *configFile) holdsPassword() bool {
	for _, value := range f.values {
		u, err := url.Parse(value)
		if err != nil { // it is more likely to be an unescaped password than no URL
			if strings.Contains(value, "://") && strings.Contains(value, "@") {
				return true
			}
			continue
		}
		if _, has := u.User.Password(); has || u.Query().Has("password") {
			return true
		}
	}
	return false
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
			if node.Tag == "!!null" {
				faults = append(faults, fmt.Errorf("%s: has no value: remove it, or set one", key))
			}
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

// resolver sets flags from the file if neither the command line nor the environment sets
// them.
func (f *configFile) resolver(env func(string) (string, bool)) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if value, ok := env(name); ok {
				return value, nil
			}
		}
		if value, ok := f.values[keyOf(flag)]; ok {
			return value, nil
		}
		return nil, nil
	})
}

// keyOf returns the key of a flag in the file: its name or, if its environment variable
// differs because commands use the name for different things, that variable's:
// camera-http for LATCHKEY_CAMERA_HTTP.
func keyOf(flag *kong.Flag) string {
	if len(flag.Envs) == 0 {
		return flag.Name
	}
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(flag.Envs[0], "LATCHKEY_"), "_", "-"))
}

// unknown returns every key of the file that does not belong to a flag of any command.
func (f *configFile) unknown(app *kong.Application) []string {
	known := map[string]bool{}
	var visit func(*kong.Node)
	visit = func(n *kong.Node) {
		for _, flag := range n.Flags {
			known[keyOf(flag)] = true
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
	return faults
}

// negative matches an argument that looks like a flag, but is a number or a duration.
var negative = regexp.MustCompile(`^-\.?[0-9]`)

// joinNegatives writes --flag -1s as --flag=-1s, which the parser would otherwise take
// for two flags.
func joinNegatives(args []string) []string {
	var out []string
	for _, arg := range args {
		if n := len(out); n > 0 && negative.MatchString(arg) && strings.HasPrefix(out[n-1], "--") && len(out[n-1]) > 2 && !strings.Contains(out[n-1], "=") {
			out[n-1] += "=" + arg
			continue
		}
		out = append(out, arg)
	}
	return out
}

// checker is a command whose settings can be checked before it runs.
type checker interface{ checkSettings() []string }

// faultsOf returns all errors of the command line and the file: those of the parser,
// unknown keys of the file, empty options, and invalid values.
func (f *configFile) faultsOf(parser *kong.Kong, command *kong.Context, env func(string) (string, bool), parsed error) error {
	var faults []string
	if parsed != nil {
		faults = append(faults, parsed.Error())
	}
	faults = append(faults, f.unknown(parser.Model)...)
	if command != nil && command.Selected() != nil {
		if target := command.Selected().Target; target.CanAddr() {
			if c, ok := target.Addr().Interface().(checker); ok {
				faults = append(faults, c.checkSettings()...)
			}
		}
		faults = append(faults, emptyOptions(command, env)...)
	}
	if len(faults) == 0 {
		return nil
	}
	return &configFaults{faults}
}

// emptyOptions returns the options that are set but empty, on the command line or in the
// environment, such as an unset variable of a script: they mean neither everything nor
// nothing.
func emptyOptions(command *kong.Context, env func(string) (string, bool)) (faults []string) {
	given := func(flag *kong.Flag) bool {
		return slices.ContainsFunc(command.Path, func(p *kong.Path) bool { return p.Flag == flag }) ||
			slices.ContainsFunc(flag.Envs, func(name string) bool { _, set := env(name); return set })
	}
	for _, flag := range command.Flags() {
		kind := flag.Target.Kind()
		if (kind == reflect.String || kind == reflect.Slice) && flag.Target.Len() == 0 && given(flag) {
			faults = append(faults, "--"+flag.Name+": is empty")
		}
	}
	return faults
}

// configFaults are all errors of a configuration.
type configFaults struct{ list []string }

func (f *configFaults) Error() string {
	if len(f.list) == 1 {
		return "configuration: " + f.list[0]
	}
	return "configuration:\n  " + strings.Join(f.list, "\n  ")
}
