package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"emporium/internal/auth"
	"emporium/internal/config"
	"emporium/internal/seal"
)

// secretsPoll is how often the files with keys are looked at, so that keys are rotated without a restart.
const secretsPoll = 5 * time.Second

// secrets are the keys of the process: one set seals personal data, the other signs tokens.
type secrets struct {
	sealer  *seal.Sealer
	signing atomic.Pointer[auth.Keyring]

	keysetFile, signingFile string // "": from the environment, which does not change
	log                     *slog.Logger
}

// openSecrets reads the keys. With private servers missing files are made, since the data that they seal is made here
// too; otherwise missing keys are an error: made-up ones would lock the data away at the next start.
func openSecrets(cfg config.Config, private bool, log *slog.Logger) (*secrets, error) {
	s := &secrets{keysetFile: cfg.KeysetFile, signingFile: cfg.SigningKeysFile, log: log}
	if private && cfg.Keyset == "" && s.keysetFile == "" {
		s.keysetFile = filepath.Join(cfg.Dir, "keyset.json")
		if err := makeSecret(s.keysetFile, seal.New().Marshal); err != nil {
			return nil, err
		}
	}
	if private && cfg.SigningKeys == "" && s.signingFile == "" {
		s.signingFile = filepath.Join(cfg.Dir, "signing-keys.json")
		if err := makeSecret(s.signingFile, auth.NewKeyring().Marshal); err != nil {
			return nil, err
		}
	}
	if cfg.Keyset != "" {
		s.keysetFile = ""
	}
	if cfg.SigningKeys != "" {
		s.signingFile = ""
	}
	keyset, err := seal.Load(string(cfg.Keyset), s.keysetFile)
	if err != nil {
		return nil, fmt.Errorf("KEYSET: %w", err)
	}
	if s.sealer, err = seal.NewSealer(keyset); err != nil {
		return nil, fmt.Errorf("KEYSET: %w", err)
	}
	signing, err := loadSigning(string(cfg.SigningKeys), s.signingFile)
	if err != nil {
		return nil, err
	}
	s.signing.Store(signing)
	return s, nil
}

func loadSigning(value, file string) (*auth.Keyring, error) {
	document, err := seal.ReadSecret(value, file)
	if err != nil {
		return nil, fmt.Errorf("SIGNING_KEYS: %w", err)
	}
	keys, err := auth.ParseKeyring(document)
	if err != nil {
		return nil, fmt.Errorf("SIGNING_KEYS: %w", err)
	}
	return keys, nil
}

// makeSecret writes a new secret for its owner alone, unless the file is there.
func makeSecret(file string, secret func() ([]byte, error)) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keys: %w", err)
	}
	document, err := secret()
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return writeSecret(file, document)
}

// writeSecret replaces a file as a whole: a reader sees the old content or the new.
func writeSecret(file string, document []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".keys-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if _, err := f.Write(document); err != nil {
		return errors.Join(fmt.Errorf("keys: %w", err), f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}

// watch takes over changed files until ctx is done. A file that can not be read leaves the keys as they are.
func (s *secrets) watch(ctx context.Context) error {
	tick := time.NewTicker(secretsPoll)
	defer tick.Stop()
	seen := map[string]time.Time{s.keysetFile: modified(s.keysetFile), s.signingFile: modified(s.signingFile)}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for file, reload := range map[string]func(string) error{s.keysetFile: s.reloadKeyset, s.signingFile: s.reloadSigning} {
			at := modified(file)
			if file == "" || at.Equal(seen[file]) {
				continue
			}
			seen[file] = at
			if err := reload(file); err != nil {
				s.log.ErrorContext(ctx, "keys not taken over", "file", file, "error", err)
				continue
			}
			s.log.InfoContext(ctx, "keys taken over", "file", file)
		}
	}
}

func modified(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (s *secrets) reloadSigning(file string) error {
	keys, err := loadSigning("", file)
	if err == nil {
		s.signing.Store(keys)
	}
	return err
}

func (s *secrets) reloadKeyset(file string) error {
	keyset, err := seal.Load("", file)
	if err != nil {
		return err
	}
	return s.sealer.Use(keyset)
}
