package devstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// kind is a sort of server that we can start.
type kind struct {
	want           string // for people
	programs       []string
	beside         string         // another program that must be in the same folder
	version        *regexp.Regexp // of what --version prints: the name, the version, its first number
	oldest, newest int
	apt, brew      string // packages
}

var (
	postgresKind = kind{
		want: "PostgreSQL 15 to 18", programs: []string{"postgres"}, beside: "initdb",
		version: regexp.MustCompile(`\((PostgreSQL)\) ((\d+)\S*)`), oldest: 15, newest: 18,
		apt: "postgresql", brew: "postgresql@17",
	}
	// Valkey began as a copy of Redis 7.2.
	redisKind = kind{
		want: "Redis 7 or later, or Valkey", programs: []string{"redis-server", "valkey-server"},
		version: regexp.MustCompile(`(Redis|Valkey) server v=((\d+)\S*)`), oldest: 7, newest: 1000,
		apt: "redis-server", brew: "redis",
	}
)

// program is a server that is on the machine.
type program struct {
	path  string
	name  string // with its version, for people
	major int
}

// programs are the servers that are on the machine in versions that work.
type programs struct {
	postgres []program // at least one; the newest first
	redis    program
	redisErr error
}

// missingError says that there is no version at all, so that installing one may help.
type missingError struct{ kind }

func (e missingError) Error() string {
	return fmt.Sprintf("%s is needed, but is neither in PATH nor where packages put it; %s", e.want, advice(e.kind))
}

// locate finds the servers, and installs what is missing if it may.
func locate(ctx context.Context, o Options) (found programs, err error) {
	var missing []kind
	find := func() {
		folders := o.programs
		if folders == nil {
			folders = programFolders()
		}
		missing = nil
		var redis []program
		found.postgres, err = postgresKind.find(ctx, folders)
		if redis, found.redisErr = redisKind.find(ctx, folders); found.redisErr == nil {
			found.redis = redis[0]
		}
		for _, e := range []error{err, found.redisErr} {
			if is := (missingError{}); errors.As(e, &is) {
				missing = append(missing, is.kind)
			}
		}
	}
	find()
	if len(missing) > 0 && o.Install {
		installErr := install(ctx, o.Log, missing)
		find()
		if err != nil {
			err = errors.Join(err, installErr)
		}
		if found.redisErr != nil {
			found.redisErr = errors.Join(found.redisErr, installErr)
		}
	}
	if err == nil && o.NeedRedis {
		err = found.redisErr
	}
	return found, err
}

// RedisServer returns the path of a Redis or Valkey server, for tests that break servers of their own. It installs nothing.
func RedisServer(ctx context.Context) (string, error) {
	found, err := redisKind.find(ctx, programFolders())
	if err != nil {
		return "", fmt.Errorf("devstack: %w", err)
	}
	return found[0].path, nil
}

// postgresFor is the version that can serve data made by the given major version; 0 means that there is no data yet.
func (p programs) postgresFor(major int) (program, error) {
	for _, candidate := range p.postgres {
		if major == 0 || candidate.major == major {
			return candidate, nil
		}
	}
	return program{}, fmt.Errorf("made by PostgreSQL %d, but there is only %s", major, p.postgres[0].name)
}

// programFolders are PATH and the places that packages use without adding them to it.
func programFolders() []string {
	folders := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",         // Debian
		"/usr/pgsql-*/bin",                  // Red Hat, with the packages of postgresql.org
		"/usr/local/pgsql/bin",              // built from source
		"/opt/homebrew/opt/postgresql*/bin", // Homebrew
		"/usr/local/opt/postgresql*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		"/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin", "/usr/local/bin", "/usr/bin",
	} {
		matches, _ := filepath.Glob(pattern) // the only error is a bad pattern
		folders = append(folders, matches...)
	}
	return folders
}

// find returns the servers in the folders whose version will do, the newest first, and at least one if err is nil.
func (k kind) find(ctx context.Context, folders []string) (good []program, err error) {
	var seen, bad []string
	for _, name := range k.programs {
		for _, folder := range folders {
			path := filepath.Join(folder, name)
			real, err := filepath.EvalSymlinks(path)
			if err != nil || !filepath.IsAbs(path) || slices.Contains(seen, real) {
				continue
			}
			seen = append(seen, real)
			// A package may link the server alone into PATH: what belongs to it is in the real folder. But Redis is one
			// program for many purposes, and told its purpose by the name of the link.
			if filepath.Base(real) == name {
				path = real
			}
			if _, err := exec.LookPath(filepath.Join(filepath.Dir(path), k.beside)); k.beside != "" && err != nil {
				continue
			}
			printed, _ := exec.CommandContext(ctx, path, "--version").Output() // what does not run does not match
			m := k.version.FindSubmatch(printed)
			if m == nil {
				continue
			}
			p := program{path: path, name: fmt.Sprintf("%s %s", m[1], m[2])}
			if p.major, _ = strconv.Atoi(string(m[3])); k.oldest <= p.major && p.major <= k.newest {
				good = append(good, p)
			} else {
				bad = append(bad, p.name+" in "+filepath.Dir(path))
			}
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(good) == 0 && len(bad) == 0:
		return nil, missingError{k}
	case len(good) == 0:
		return nil, fmt.Errorf("%s is needed, but there is only %s; %s", k.want, strings.Join(bad, ", "), advice(k))
	}
	slices.SortStableFunc(good, func(a, b program) int { return cmp.Compare(b.major, a.major) })
	return good, nil
}

// installCommand is the command that installs the servers here; none if we know no way.
func installCommand(missing []kind) []string {
	has := func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	}
	root := os.Geteuid() == 0
	var command []string
	switch {
	case has("apt-get") && (root || has("sudo")):
		if !root {
			command = []string{"sudo"}
		}
		command = append(command, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends")
		for _, k := range missing {
			command = append(command, k.apt)
		}
	case has("brew") && !root:
		command = []string{"brew", "install"}
		for _, k := range missing {
			command = append(command, k.brew)
		}
	}
	return command
}

// install runs the system's package manager. On Debian its packages also set up servers of their own. Keeping them from
// it takes files in /etc or /usr/sbin that would outlive a crash of ours and then surprise the machine's owner, so they
// are left alone: what we start listens on no port that they could hold. The log says how to turn them off.
func install(ctx context.Context, log func(string, ...any), missing []kind) error {
	command := installCommand(missing)
	if command == nil {
		return errors.New("found no package manager to install it with (apt-get as root or with sudo, or brew)")
	}
	run := func(command []string) error {
		log("Missing on this machine: %s. Running: %s", wants(missing), strings.Join(command, " "))
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		// Standard output belongs to the program. And a package manager that is killed leaves work for its next run.
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
		}
		return nil
	}
	err := run(command)
	if apt := slices.Index(command, "apt-get"); err != nil && apt >= 0 && ctx.Err() == nil {
		// Its lists of packages may be missing or old.
		if err = run(append(slices.Clone(command[:apt+1]), "update")); err == nil {
			err = run(command)
		}
	}
	if err == nil && runtime.GOOS == "linux" {
		log("Installed. Servers that the packages may have started for the whole machine are not used here; " +
			"`sudo systemctl disable --now postgresql redis-server` turns them off.")
	}
	return err
}

func advice(missing ...kind) string {
	const instead = "set DATABASE_URL and REDIS_URL (for tests TEST_DATABASE_URL and TEST_REDIS_URL) to use other servers"
	if command := installCommand(missing); command != nil {
		return fmt.Sprintf("install it (%s), or %s", strings.Join(command, " "), instead)
	}
	return "install it and have its programs in PATH, or " + instead
}

func wants(kinds []kind) string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.want)
	}
	return strings.Join(all, "; ")
}
