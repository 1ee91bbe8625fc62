//go:build unix

package devstack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeProgram makes a script and returns its folder.
func fakeProgram(t *testing.T, name, script string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "devstack")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	return dir
}

func fakePostgres(t *testing.T, version string) string {
	t.Helper()
	dir := fakeProgram(t, "postgres", fmt.Sprintf("echo 'postgres (PostgreSQL) %s'", version))
	must(t, os.WriteFile(filepath.Join(dir, "initdb"), nil, 0o755))
	return dir
}

func TestFindPostgres(t *testing.T) {
	t.Parallel()
	old, fifteen, eighteen, future := fakePostgres(t, "14.2 (Ubuntu 14.2-1)"), fakePostgres(t, "15.18"), fakePostgres(t, "18beta1"), fakePostgres(t, "19.0")
	linked := filepath.Join(t.TempDir(), "postgres") // without its initdb, as some packages do
	must(t, os.Symlink(filepath.Join(eighteen, "postgres"), linked))

	list, err := postgresKind.find(t.Context(), []string{old, fifteen, filepath.Dir(linked), eighteen, future, fifteen})
	must(t, err)
	if len(list) != 2 || list[0].path != filepath.Join(eighteen, "postgres") || list[1].name != "PostgreSQL 15.18" {
		t.Errorf("found %v", list)
	}
	p := programs{postgres: list}
	if got, err := p.postgresFor(0); err != nil || got.major != 18 {
		t.Errorf("for no data: %v, %v", got, err)
	}
	if got, err := p.postgresFor(15); err != nil || got.major != 15 {
		t.Errorf("for data of 15: %v, %v", got, err)
	}
	if _, err := p.postgresFor(16); err == nil || !strings.Contains(err.Error(), "made by PostgreSQL 16") {
		t.Errorf("for data of 16: %v", err)
	}
	_, err = postgresKind.find(t.Context(), []string{old, future})
	if err == nil || !strings.Contains(err.Error(), "PostgreSQL 14.2 in "+old) || !strings.Contains(err.Error(), "PostgreSQL 19.0") {
		t.Errorf("only unsupported ones: %v", err)
	}
}

func TestFindRedis(t *testing.T) {
	t.Parallel()
	old := fakeProgram(t, "redis-server", "echo Redis server v=6.0.16 sha=0:0 malloc=jemalloc")
	good := fakeProgram(t, "redis-server", "echo Redis server v=7.0.15 sha=0:0 malloc=jemalloc")
	valkey := fakeProgram(t, "valkey-server", "echo Valkey server v=8.1.1 sha=0:0 malloc=jemalloc")
	for want, folders := range map[string][]string{
		"Redis 7.0.15": {old, good},
		"Valkey 8.1.1": {old, valkey, good},
	} {
		if got, err := redisKind.find(t.Context(), folders); err != nil || got[0].name != want {
			t.Errorf("found %v (%v), want %s", got, err, want)
		}
	}
	if _, err := redisKind.find(t.Context(), []string{old}); err == nil || !strings.Contains(err.Error(), "Redis 6.0.16 in "+old) {
		t.Errorf("only an old one: %v", err)
	}
}

// The package manager here is a script that knows no package before its update, and then installs both servers.
func TestInstall(t *testing.T) {
	empty := t.TempDir()
	apt := fakeProgram(t, "apt-get", `cd "${0%/*}" && echo "$@" >> calls
case "$1" in
update) touch lists;;
install) [ -e lists ] && cp hidden-redis redis-server && cp hidden-postgres postgres && cp hidden-postgres initdb;;
esac`)
	must(t, os.WriteFile(filepath.Join(apt, "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(apt, "hidden-redis"), []byte("#!/bin/sh\necho Redis server v=7.0.15\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(apt, "hidden-postgres"), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) 17.1'\n"), 0o755))
	t.Setenv("PATH", apt+":/usr/bin:/bin")

	o := Options{NeedRedis: true, programs: []string{apt}}
	_, err := locate(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "PostgreSQL 15 to 18 is needed") ||
		!strings.Contains(err.Error(), "apt-get install -y --no-install-recommends postgresql)") {
		t.Errorf("without Install: %v", err)
	}
	var said strings.Builder
	o.Install, o.Log = true, func(format string, args ...any) { fmt.Fprintf(&said, format+"\n", args...) }
	found, err := locate(t.Context(), o)
	must(t, err)
	if found.postgres[0].major != 17 || found.redis.major != 7 {
		t.Errorf("found %+v", found)
	}
	calls, err := os.ReadFile(filepath.Join(apt, "calls"))
	must(t, err)
	const install = "install -y --no-install-recommends postgresql redis-server\n"
	if string(calls) != install+"update\n"+install {
		t.Errorf("apt-get was called with\n%s", calls)
	}
	if !strings.Contains(said.String(), "apt-get update") {
		t.Errorf("said\n%s", &said)
	}

	t.Setenv("PATH", empty)
	o.programs = []string{empty}
	if _, err := locate(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no package manager") ||
		!strings.Contains(err.Error(), "in PATH") {
		t.Errorf("without a package manager: %v", err)
	}
}
