package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v3"

	"emporium/internal/auth"
	"emporium/internal/devstack"
	"emporium/internal/seal"
)

// keysNew makes a secret and prints it, or writes it to a new file that its owner alone can read.
func (p *program) keysNew(secret func() ([]byte, error)) cli.ActionFunc {
	return func(_ context.Context, c *cli.Command) error {
		document, err := secret()
		if err != nil {
			return err
		}
		name := c.Args().First()
		if name == "" {
			_, err = fmt.Fprintf(p.out, "%s\n", document)
			return err
		}
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("%s is there already; keys are never overwritten", name)
		}
		return writeSecret(name, document)
	}
}

// keysRotate makes a new key, lets it seal, and seals everything anew with it, in an order in which servers that run
// meanwhile can always open what they read: first they learn the key, then it seals. Each step looks at the file as it
// is, so that it can be interrupted anywhere: a key that was added but does not seal yet is the one to go on with.
func (p *program) keysRotate(ctx context.Context, c *cli.Command) error {
	return p.withKeyset(ctx, c, func(a *App, file string, settle func() error) error {
		keyset, err := seal.Load("", file)
		if err != nil {
			return err
		}
		key, seals, err := keyset.Newest()
		if err != nil {
			return err
		}
		if seals && !c.Bool("resume") {
			if keyset, key, err = keyset.Add(); err != nil {
				return err
			}
			if err := saveKeyset(file, keyset); err != nil {
				return err
			}
			p.say("key %08x added", key)
			seals = false
		}
		if !seals {
			if err := settle(); err != nil {
				return err
			}
			if keyset, err = keyset.Promote(key); err != nil {
				return err
			}
			if err := saveKeyset(file, keyset); err != nil {
				return err
			}
			p.say("key %08x seals from now on", key)
		}
		if err := settle(); err != nil { // or a server would still seal with the old key behind our back
			return err
		}
		total, err := p.reseal(ctx, a, file)
		if err != nil {
			return fmt.Errorf("%w (go on with `keys rotate --resume`)", err)
		}
		fmt.Fprintf(p.out, "%d rows sealed anew with key %08x; `keys prune` drops the old keys once backups do not need them\n",
			total, a.secrets.sealer.PrimaryKeyID())
		return nil
	})
}

// keysPrune drops all keys but the one that seals, after making sure that nothing is sealed with them.
func (p *program) keysPrune(ctx context.Context, c *cli.Command) error {
	return p.withKeyset(ctx, c, func(a *App, file string, settle func() error) error {
		keyset, err := seal.Load("", file)
		if err != nil {
			return err
		}
		if key, seals, err := keyset.Newest(); err != nil {
			return err
		} else if !seals {
			return fmt.Errorf("key %08x was added but does not seal yet: finish with `keys rotate --resume` first", key)
		}
		if err := settle(); err != nil {
			return err
		}
		if _, err := p.reseal(ctx, a, file); err != nil {
			return err
		}
		if keyset, err = keyset.Prune(); err != nil {
			return err
		}
		if err := saveKeyset(file, keyset); err != nil {
			return err
		}
		fmt.Fprintf(p.out, "only key %08x is left\n", a.secrets.sealer.PrimaryKeyID())
		return nil
	})
}

// withKeyset opens the app for a command that changes the keyset's file, with nobody else changing it. Settle waits for
// running servers to have taken over what was written.
func (p *program) withKeyset(ctx context.Context, c *cli.Command, do func(a *App, file string, settle func() error) error) error {
	return p.with(ctx, func(a *App) error {
		file := a.secrets.keysetFile
		if file == "" {
			return errors.New("keys are changed in a file: set KEYSET_FILE, not KEYSET")
		}
		release, err := lockSecret(file)
		if err != nil {
			return err
		}
		defer release()
		return do(a, file, func() error {
			p.say("waiting %s for running servers to take the keys over", c.Duration("settle"))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(c.Duration("settle")):
				return nil
			}
		})
	})
}

// reseal seals everything anew that is not sealed with the file's primary key.
func (p *program) reseal(ctx context.Context, a *App, file string) (total int, err error) {
	if err := a.secrets.reloadKeyset(file); err != nil {
		return 0, err
	}
	for _, domain := range []struct {
		name   string
		reseal func(context.Context, func(int)) (int, error)
	}{{"users", a.services.Users.Reseal}, {"orders", a.services.Orders.Reseal}, {"payments", a.services.Payments.Reseal}} {
		n, err := domain.reseal(ctx, p.paced(func(done int) { p.say("  %-10s %d rows", domain.name, done) }))
		total += n
		if err != nil {
			return total, fmt.Errorf("%s: %w", domain.name, err)
		}
	}
	return total, nil
}

// lockSecret keeps other commands from changing a file with keys meanwhile.
func lockSecret(file string) (release func(), err error) {
	release, held, err := devstack.Lock(file + ".lock")
	if held {
		return nil, fmt.Errorf("another command is changing %s", file)
	}
	return release, err
}

func saveKeyset(file string, keyset *seal.Keyset) error {
	document, err := keyset.Marshal()
	if err != nil {
		return err
	}
	return writeSecret(file, document)
}

// signingFile is the file whose keys are listed and changed.
func (p *program) signingFile() (string, *auth.Keyring, error) {
	cfg, log, err := p.config()
	if err != nil {
		return "", nil, err
	}
	s, err := openSecrets(cfg, cfg.Private(), log)
	if err != nil {
		return "", nil, err
	}
	if s.signingFile == "" {
		return "", nil, errors.New("signing keys are changed in a file: set SIGNING_KEYS_FILE, not SIGNING_KEYS")
	}
	return s.signingFile, s.signing.Load(), nil
}

func (p *program) signingList(context.Context, *cli.Command) error {
	_, keys, err := p.signingFile()
	if err != nil {
		return err
	}
	for _, k := range keys.Keys() {
		fmt.Fprintf(p.out, "%s  %-8s  %s\n", k.ID, k.Status, k.Created.UTC().Format(time.RFC3339))
	}
	return nil
}

func (p *program) signingChange(change func(keys *auth.Keyring, key string) (*auth.Keyring, error)) cli.ActionFunc {
	return func(ctx context.Context, c *cli.Command) error {
		file, _, err := p.signingFile()
		if err != nil {
			return err
		}
		release, err := lockSecret(file)
		if err != nil {
			return err
		}
		defer release()
		keys, err := loadSigning("", file)
		if err != nil {
			return err
		}
		if keys, err = change(keys, c.Args().First()); err != nil {
			return err
		}
		document, err := keys.Marshal()
		if err != nil {
			return err
		}
		if err := writeSecret(file, document); err != nil {
			return err
		}
		return p.signingList(ctx, c)
	}
}
