package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v3"

	"emporium/internal/auth"
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
// meanwhile can always open what they read: first they learn the key, then it seals.
func (p *program) keysRotate(ctx context.Context, c *cli.Command) error {
	return p.with(ctx, func(a *App) error {
		file := a.secrets.keysetFile
		if file == "" {
			return errors.New("keys are rotated in a file: set KEYSET_FILE, not KEYSET")
		}
		settle := func() error {
			p.say("waiting %s for running servers to take the keys over", c.Duration("settle"))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(c.Duration("settle")):
				return nil
			}
		}
		if !c.Bool("resume") {
			keyset, err := seal.Load("", file)
			if err != nil {
				return err
			}
			next, key, err := keyset.Add()
			if err != nil {
				return err
			}
			if err := saveKeyset(file, next); err != nil {
				return err
			}
			p.say("key %08x added", key)
			if err := settle(); err != nil {
				return err
			}
			if next, err = next.Promote(key); err != nil {
				return err
			}
			if err := saveKeyset(file, next); err != nil {
				return err
			}
			p.say("key %08x seals from now on", key)
			if err := settle(); err != nil { // or a server would still seal with the old key behind our back
				return err
			}
			if err := a.secrets.reloadKeyset(file); err != nil {
				return err
			}
		}
		total := 0
		for name, reseal := range map[string]func(context.Context, func(int)) (int, error){
			"users": a.services.Users.Reseal, "orders": a.services.Orders.Reseal, "payments": a.services.Payments.Reseal,
		} {
			n, err := reseal(ctx, func(done int) { p.say("  %-10s %d rows", name, done) })
			total += n
			if err != nil {
				return fmt.Errorf("%s: %w (go on with `keys rotate --resume`)", name, err)
			}
		}
		fmt.Fprintf(p.out, "%d rows sealed anew with key %08x; `keys prune` drops the old keys once backups do not need them\n",
			total, a.secrets.sealer.PrimaryKeyID())
		return nil
	})
}

// keysPrune drops all keys but the one that seals, after making sure that nothing is sealed with them.
func (p *program) keysPrune(ctx context.Context, _ *cli.Command) error {
	return p.with(ctx, func(a *App) error {
		file := a.secrets.keysetFile
		if file == "" {
			return errors.New("keys are pruned in a file: set KEYSET_FILE, not KEYSET")
		}
		keyset, err := seal.Load("", file)
		if err != nil {
			return err
		}
		for _, reseal := range []func(context.Context, func(int)) (int, error){
			a.services.Users.Reseal, a.services.Orders.Reseal, a.services.Payments.Reseal,
		} {
			if _, err := reseal(ctx, func(int) {}); err != nil {
				return err
			}
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
		file, keys, err := p.signingFile()
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
