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

const (
	oldestPostgres, newestPostgres = 15, 18
	oldestRedis                    = 7 // Valkey began at 7.2 from the same code
)

// program is a server that is on the machine.
type program struct {
	path  string
	name  string // with its version, for people
	major int
}

// programs are the servers that are on the machine in versions that work.
type programs struct {
	postgres []program // never empty; the newest first
	redis    program
	redisErr error
}

// missingError says that no version at all was found, so that installing may help.
type missingError struct{ what string }

func (e missingError) Error() string {
	return e.what + " is not installed (not in PATH, nor where packages put it). " + installHint()
}

// locate finds the servers, and installs what is missing if it may.
func locate(ctx context.Context, o Options) (programs, error) {
	folders := o.programs
	if folders == nil {
		folders = programFolders()
	}
	var found programs
	find := func() (missing []string, err error) {
		found.postgres, err = findPostgres(ctx, folders)
		found.redis, found.redisErr = findRedis(ctx, folders)
		if errors.As(err, new(missingError)) {
			missing = append(missing, "postgres")
		}
		if errors.As(found.redisErr, new(missingError)) {
			missing = append(missing, "redis")
		}
		return missing, err
	}
	missing, err := find()
	if len(missing) > 0 && o.Install {
		installErr := install(ctx, o.Log, missing)
		if o.programs == nil {
			folders = programFolders() // there may be new ones
		}
		if missing, err = find(); err != nil {
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

// postgresFor is the version that can serve data made by the given major version; 0 means that there is no data yet.
func (p programs) postgresFor(major int) (program, error) {
	for _, candidate := range p.postgres {
		if major == 0 || candidate.major == major {
			return candidate, nil
		}
	}
	return program{}, fmt.Errorf("was made by PostgreSQL %d, but there is only %s", major, p.postgres[0].name)
}

// programFolders are PATH and the places that packages use without adding them to it.
func programFolders() []string {
	folders := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", // Debian
		"/usr/pgsql-*/bin",          // Red Hat, from postgresql.org
		"/usr/local/pgsql/bin",      // built from source
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin", "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		"/opt/homebrew/opt/redis/bin", "/usr/local/opt/redis/bin", "/home/linuxbrew/.linuxbrew/opt/redis/bin",
		"/opt/homebrew/opt/valkey/bin", "/usr/local/opt/valkey/bin", "/home/linuxbrew/.linuxbrew/opt/valkey/bin",
		"/usr/local/bin", "/usr/bin",
	} {
		matches, _ := filepath.Glob(pattern) // the only error is a bad pattern
		folders = append(folders, matches...)
	}
	return folders
}

var (
	postgresVersion = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)
	redisVersion    = regexp.MustCompile(`(Redis|Valkey) server v=((\d+)\S*)`)
)

func findPostgres(ctx context.Context, folders []string) ([]program, error) {
	var good []program
	var bad []string
	for path := range executables(folders, "postgres") {
		// A package may link the server alone into PATH; the real folder has the rest.
		if !executable(filepath.Join(filepath.Dir(path), "initdb")) {
			continue
		}
		m := postgresVersion.FindStringSubmatch(version(ctx, path))
		if m == nil {
			continue
		}
		p := program{path: path, name: "PostgreSQL " + m[1]}
		p.major, _ = strconv.Atoi(m[2]) // digits
		if p.major < oldestPostgres || p.major > newestPostgres {
			bad = append(bad, p.name+" in "+filepath.Dir(path))
		} else {
			good = append(good, p)
		}
	}
	want := fmt.Sprintf("PostgreSQL %d to %d", oldestPostgres, newestPostgres)
	switch {
	case len(good) > 0:
		slices.SortStableFunc(good, func(a, b program) int { return cmp.Compare(b.major, a.major) })
		return good, nil
	case len(bad) > 0:
		return nil, fmt.Errorf("%s is needed, but there is only %s. %s", want, strings.Join(bad, ", "), installHint())
	}
	return nil, missingError{want}
}

func findRedis(ctx context.Context, folders []string) (program, error) {
	var bad []string
	for path := range executables(folders, "redis-server", "valkey-server") {
		m := redisVersion.FindStringSubmatch(version(ctx, path))
		if m == nil {
			continue
		}
		p := program{path: path, name: m[1] + " " + m[2]}
		if p.major, _ = strconv.Atoi(m[3]); p.major >= oldestRedis {
			return p, nil
		}
		bad = append(bad, p.name+" in "+filepath.Dir(path))
	}
	want := fmt.Sprintf("Redis %d or later, or Valkey,", oldestRedis)
	if len(bad) > 0 {
		return program{}, fmt.Errorf("%s is needed, but there is only %s. %s", want, strings.Join(bad, ", "), installHint())
	}
	return program{}, missingError{want}
}

// executables yields the files of these names in the folders, each once, with symlinks resolved.
func executables(folders []string, names ...string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var seen []string
		for _, name := range names {
			for _, folder := range folders {
				path := filepath.Join(folder, name)
				if !filepath.IsAbs(path) || !executable(path) {
					continue
				}
				// Redis is one program that asks under which name it was called: keep the name, resolve the folder.
				real, err := filepath.EvalSymlinks(path)
				if err != nil || slices.Contains(seen, real) {
					continue
				}
				seen = append(seen, real)
				if filepath.Base(real) == name {
					path = real
				}
				if !yield(path) {
					return
				}
			}
		}
	}
}

func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0
}

func version(ctx context.Context, path string) string {
	out, _ := exec.CommandContext(ctx, path, "--version").Output() // what does not run is not the program that we look for
	return string(out)
}

// installers are the package managers that we know, by the command that must be there.
var installers = []struct {
	command  string
	root     bool // must run as root
	packages map[string]string
	steps    func(packages []string) [][]string // the second and third step only if the first fails
}{
	{"apt-get", true, map[string]string{"postgres": "postgresql", "redis": "redis-server"}, func(packages []string) [][]string {
		install := append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, packages...)
		return [][]string{install, {"apt-get", "update"}, install} // the lists of packages may be missing or old
	}},
	{"brew", false, map[string]string{"postgres": "postgresql@17", "redis": "redis"}, func(packages []string) [][]string {
		return [][]string{append([]string{"brew", "install"}, packages...)}
	}},
}

// installSteps are the commands that install the missing servers here; none if we know no way.
func installSteps(missing []string) [][]string {
	for _, in := range installers {
		root := os.Geteuid() == 0
		if _, err := exec.LookPath(in.command); err != nil || root && !in.root {
			continue
		}
		var prefix []string
		if in.root && !root {
			if _, err := exec.LookPath("sudo"); err != nil {
				continue
			}
			prefix = []string{"sudo"}
		}
		if in.command == "apt-get" {
			prefix = append(prefix, "env", "DEBIAN_FRONTEND=noninteractive")
		}
		var packages []string
		for _, server := range missing {
			packages = append(packages, in.packages[server])
		}
		steps := in.steps(packages)
		for i := range steps {
			steps[i] = slices.Concat(prefix, steps[i])
		}
		return steps
	}
	return nil
}

// install runs the system's package manager. On Debian its packages also set up servers of their own. Keeping them from
// it takes files in /etc or /usr/sbin that would outlive a crash of ours and then surprise the machine's owner, so they
// are left alone: what we start listens on no port that they could hold. The log says how to turn them off.
func install(ctx context.Context, log func(string, ...any), missing []string) error {
	steps := installSteps(missing)
	if steps == nil {
		return errors.New("no package manager that can be used was found (apt-get as root or with sudo, or brew)")
	}
	var err error
	for i, step := range steps {
		if i > 0 && err == nil && i != 2 {
			break
		}
		command := strings.Join(step, " ")
		log("missing on this machine: %s; running: %s", strings.Join(missing, ", "), command)
		cmd := exec.CommandContext(ctx, step[0], step[1:]...)
		// Standard output belongs to the program; a package manager killed halfway leaves work for its next run.
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		if err = cmd.Run(); err != nil {
			err = fmt.Errorf("%s: %w", command, err)
		}
		if ctx.Err() != nil {
			return err
		}
	}
	if err == nil && runtime.GOOS == "linux" {
		log("installed. Emporium starts private servers; those that the packages may have started for the whole machine " +
			"are not used, and `sudo systemctl disable --now postgresql redis-server` turns them off")
	}
	return err
}

func installHint() string {
	if steps := installSteps([]string{"postgres", "redis"}); steps != nil {
		return "Install it: " + strings.Join(steps[0], " ") + "; or set DATABASE_URL and REDIS_URL."
	}
	return fmt.Sprintf("Install the servers of PostgreSQL (%d to %d) and of Redis (%d or later) or Valkey, "+
		"and have their programs (initdb, postgres, redis-server) in PATH; or set DATABASE_URL and REDIS_URL.",
		oldestPostgres, newestPostgres, oldestRedis)
}
