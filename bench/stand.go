package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/devstack"
	"emporium/internal/seal"
)

const (
	seedLimit  = 30 * time.Minute
	startLimit = 2 * time.Minute
	stopLimit  = 15 * time.Second
)

// stand is where the servers run: a database, its keys, and the program under test.
type stand struct {
	dir         string
	databaseURL string
	redisURL    string
	stack       *devstack.Stack // nil: the database is somebody else's
	program     string          // Emporium, built
	db          *pgx.Conn
	say         func(format string, args ...any)
}

// openStand builds Emporium and finds or starts the database.
func openStand(ctx context.Context, dir string, say func(format string, args ...any)) (s *stand, err error) {
	s = &stand{dir: dir, say: say, program: filepath.Join(dir, "emporium"),
		databaseURL: os.Getenv("BENCH_DATABASE_URL"), redisURL: os.Getenv("BENCH_REDIS_URL")}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return s, err
	}
	say("building Emporium")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.program, "emporium").CombinedOutput(); err != nil {
		return s, fmt.Errorf("build: %w\n%s", err, out)
	}
	if s.databaseURL == "" {
		if s.stack, err = devstack.Start(ctx, devstack.Options{Dir: dir, Install: true, Log: say}); err != nil {
			return s, err
		}
		s.databaseURL, s.redisURL = s.stack.DatabaseURL, s.stack.RedisURL
	}
	if s.db, err = pgx.Connect(ctx, s.databaseURL); err != nil {
		return s, err // pgx leaves the password out
	}
	return s, nil
}

func (s *stand) close() error {
	var errs []error
	if s.db != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		errs = append(errs, s.db.Close(ctx))
	}
	if s.stack != nil {
		errs = append(errs, s.stack.Close())
	}
	return errors.Join(errs...)
}

// keysetFile are the keys that seal what is in the database. They stay beside it.
func (s *stand) keysetFile() string {
	if given := os.Getenv("KEYSET_FILE"); given != "" {
		return given
	}
	return filepath.Join(s.dir, "keyset.json")
}

func (s *stand) signingFile() string { return filepath.Join(s.dir, "signing-keys.json") }

// environment is all that Emporium gets to see, so that what is set in the shell does not change what is measured.
func (s *stand) environment() []string {
	env := []string{
		"DATABASE_URL=" + s.databaseURL, "REDIS_URL=" + s.redisURL, "RATE_LIMIT=0", "RATE_LIMIT_ADDRESS=0", fmt.Sprint("DATABASE_MAX_CONNS=", poolConns),
		"KEYSET_FILE=" + s.keysetFile(), "SIGNING_KEYS_FILE=" + s.signingFile(), "ACCESS_TOKEN_TTL=24h",
	}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return env
}

// command runs a command of Emporium and returns what it printed.
func (s *stand) command(ctx context.Context, errs io.Writer, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, seedLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, args...)
	var out, tail bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = s.environment(), &out, io.MultiWriter(errs, &tail)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopLimit
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("emporium %s: %w\n%s", strings.Join(args, " "), err, lastLines(tail.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}

// seed makes the keys and the data that are missing. The data of the last domain comes in one transaction, so that it is
// there if all is there.
func (s *stand) seed(ctx context.Context) error {
	var products, payments bool
	var exists *string
	if err := s.db.QueryRow(ctx, `SELECT to_regclass('payments.payments')::text`).Scan(&exists); err != nil {
		return err
	}
	if exists != nil {
		err := s.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM products.products), EXISTS (SELECT FROM payments.payments)`).
			Scan(&products, &payments)
		if err != nil {
			return err
		}
	}
	if products != payments {
		return errors.New("the database was seeded in part: remove " + s.dir + ", or give another database")
	}
	if !payments {
		if err := s.keys(ctx); err != nil {
			return err
		}
		s.say("seeding, which is done once")
		if _, err := s.command(ctx, os.Stderr, "seed", "--scale", "bench"); err != nil {
			return err
		}
		s.say("vacuuming")
		// So that autovacuum has nothing to do while we measure.
		if _, err := s.db.Exec(ctx, "VACUUM (ANALYZE)"); err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, "CHECKPOINT"); err != nil {
			s.say("no checkpoint: %v", err) // which takes a right that not every owner of a database has
		}
		return nil
	}
	if err := s.makeKeys(ctx, s.signingFile(), []string{"keys", "signing", "new"}); err != nil {
		return err
	}
	_, err := s.command(ctx, io.Discard, "migrate", "up")
	return err
}

// keys makes the keys that are missing.
func (s *stand) keys(ctx context.Context) error {
	return errors.Join(s.makeKeys(ctx, s.keysetFile(), []string{"keys", "new"}), s.makeKeys(ctx, s.signingFile(), []string{"keys", "signing", "new"}))
}

func (s *stand) makeKeys(ctx context.Context, file string, command []string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := s.command(ctx, io.Discard, append(command, file)...)
	return err
}

// sealer opens what is sealed in the database.
func (s *stand) sealer() (*seal.Sealer, error) {
	keys, err := seal.Load("", s.keysetFile())
	if err != nil {
		return nil, err
	}
	return seal.NewSealer(keys)
}

// token signs the first member of staff in that there is.
func (s *stand) token(ctx context.Context) (string, error) {
	var owner uuid.UUID
	var sealed []byte
	err := s.db.QueryRow(ctx, `SELECT owner_id, email FROM users.users
		WHERE status = 'ACTIVE' AND roles && ARRAY['SUPPORT', 'MANAGER', 'ADMIN'] AND email IS NOT NULL
		ORDER BY owner_id LIMIT 1`).Scan(&owner, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", errors.New("the database has no account of staff to sign in")
	} else if err != nil {
		return "", err
	}
	sealer, err := s.sealer()
	if err != nil {
		return "", err
	}
	email, err := sealer.OpenString(seal.Field{Table: "users.users", Column: "email", Row: owner[:]}, sealed)
	if err != nil {
		return "", err
	}
	return s.command(ctx, io.Discard, "token", "--email", email)
}

// process is a server that was started.
type process struct {
	name  string
	addr  string
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it has
}

func (p *process) target() target {
	return target{server: p.name, addr: p.addr, pid: p.cmd.Process.Pid}
}

// emporium starts the server under test with further variables of the environment, and returns the address of its admin
// listener.
func (s *stand) emporium(ctx context.Context, extra []string) (*process, string, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(s.program, "serve")
	cmd.Env = append(append(s.environment(), "HTTP_ADDR="+addr, "ADMIN_ADDR="+admin), extra...)
	p, err := s.start(ctx, nameEmporium, addr, "/readyz", cmd)
	return p, admin, err
}

// handwritten starts this program again as the hand-written server.
func (s *stand) handwritten(ctx context.Context) (*process, error) {
	return s.again(ctx, serveHandwritten, "/healthz")
}

// again starts this program as one of its own servers, with further variables of the environment.
func (s *stand) again(ctx context.Context, command, ready string, extra ...string) (*process, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	name := nameHandwritten
	if command != serveHandwritten {
		name = command
	}
	cmd := exec.Command(self, command)
	cmd.Env = append(append(s.environment(), "HTTP_ADDR="+addr), extra...)
	return s.start(ctx, name, addr, ready, cmd)
}

// freeAddress returns an address on the loopback interface that nobody listens on at the moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *stand) start(ctx context.Context, name, addr, ready string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, addr: addr, cmd: cmd, ended: make(chan struct{}), log: filepath.Join(s.dir, name+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(p.ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if isReady(ctx, "http://"+addr+ready) {
			return p, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
			continue
		case <-p.ended:
			err = fmt.Errorf("%s ended while it started", name)
		case <-ctx.Done():
			err = fmt.Errorf("%s did not become ready: %w", name, context.Cause(ctx))
		}
		text, _ := os.ReadFile(p.log)
		return nil, errors.Join(fmt.Errorf("%w; the end of %s:\n%s", err, p.log, lastLines(text)), p.stop())
	}
}

func isReady(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// stop asks the server to end, and kills it if it does not.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(os.Interrupt) // fails when it has ended
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopLimit):
	}
	err := p.cmd.Process.Kill()
	<-p.ended
	return errors.Join(fmt.Errorf("%s did not stop within %s and was killed", p.name, stopLimit), err)
}

// profile writes what the server spends its CPU time on, for as long as told, to a file.
func profile(ctx context.Context, admin string, duration time.Duration, file string) error {
	ctx, cancel := context.WithTimeout(ctx, duration+requestLimit)
	defer cancel()
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, max(1, int(duration.Seconds())))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: status %s", response.Status)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, response.Body)
	return errors.Join(err, out.Close())
}

func lastLines(text []byte) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-15):], []byte("\n")))
}
