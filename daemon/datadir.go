package daemon

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"grace"
	"grace/internal/config"
	"grace/internal/store"
)

// Files of the data folder.
const (
	databaseFile = "grace.db"
	keyFile      = "audit.key"
	tokenFile    = "cli.token"
	// checkpointFile is where the audit log had come to, outside of the database.
	checkpointFile = "audit.checkpoints"

	// keyVariable holds the audit key instead of the file: replicas on
	// different hosts must share it.
	keyVariable = "GRACE_AUDIT_KEY"
	keyBytes    = 32
)

// dataDirectory is the data folder with its key and its lock.
type dataDirectory struct {
	cfg  *config.Config
	key  []byte
	lock *os.File
	// newKey tells that the key's file was made just now. It goes again when
	// the database turns out to have a key already, which must be restored.
	newKey bool
	// forged is told of rows that were written beside GRACE; nil tells nobody.
	forged func(what string, err error)
	log    *slog.Logger
}

// openHome makes the data folder ready. With exclusive, and on SQLite, nobody
// else may have it open.
func openHome(cfg *config.Config, exclusive bool) (*dataDirectory, error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w; set data_dir to a place that GRACE may write", err)
	}
	if err := private(cfg.DataDir, othersWrite); err != nil {
		return nil, err
	}
	h := &dataDirectory{cfg: cfg}
	if exclusive && cfg.Database == "" {
		// The folder itself: a lock file can be deleted, and a second GRACE would
		// lock the next one.
		f, err := os.Open(cfg.DataDir)
		if err != nil {
			return nil, fmt.Errorf("open the data folder: %w", err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return nil, errors.Join(fmt.Errorf("the data folder %s is in use by another GRACE; stop it, or set another data_dir (several replicas need PostgreSQL)", cfg.DataDir), f.Close())
		}
		h.lock = f
	}
	var err error
	if h.key, h.newKey, err = auditKey(h.keyPath()); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *dataDirectory) keyPath() string { return filepath.Join(h.cfg.DataDir, keyFile) }

func (h *dataDirectory) close() error {
	if h.lock == nil {
		return nil
	}
	return h.lock.Close() // which releases it
}

// auditKey reads the key of the audit chain, or makes one at the first start.
func auditKey(path string) (key []byte, made bool, err error) {
	text, set := os.LookupEnv(keyVariable)
	if !set {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			key, err = newKey(path)
			return key, err == nil, err
		}
		if err == nil {
			err = private(path, othersAny)
		}
		if err != nil {
			return nil, false, fmt.Errorf("read the audit key: %w", err)
		}
		text = string(data)
	}
	key, err = hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != keyBytes {
		return nil, false, fmt.Errorf("the audit key (%s or %s) is not %d bytes in hex; restore it from the backup: without it the audit log cannot be verified or continued", keyVariable, path, keyBytes)
	}
	return key, false, nil
}

func newKey(path string) ([]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make an audit key: %w", err)
	}
	if err := writeSecret(path, hex.EncodeToString(key)); err != nil {
		return nil, fmt.Errorf("write the audit key: %w", err)
	}
	return key, nil
}

// writeSecret writes a file that only its owner reads, whole or not at all. The
// file beside it is made anew under a name that nobody knows before: one that
// lies there already, or a link to somewhere else, is never written to.
func writeSecret(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// What others may not do with a file or folder.
const (
	othersWrite fs.FileMode = 0o022
	othersAny   fs.FileMode = 0o077
)

// private refuses what others than its owner can read or write, or what belongs
// to somebody else: with the key they could forge everything that GRACE proves.
func private(path string, others fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if bad := info.Mode().Perm() & others; bad != 0 {
		return fmt.Errorf("%s has the mode %04o, so others can get at it; run: chmod go-rwx %s", path, info.Mode().Perm(), path)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, and GRACE runs as %d; run it as the owner, or give the file to it with chown", path, s.Uid, os.Geteuid())
	}
	return nil
}

// derive makes a key for another purpose, the same on all replicas.
func (h *dataDirectory) derive(purpose string) []byte {
	m := hmac.New(sha256.New, h.key)
	m.Write([]byte(purpose))
	return m.Sum(nil)
}

func (h *dataDirectory) database() string {
	if h.cfg.Database == "" {
		return "sqlite"
	}
	return "postgresql"
}

// openStore opens the database; with inspect also one whose audit log does not
// verify.
func (h *dataDirectory) openStore(ctx context.Context, inspect bool) (*store.Store, error) {
	url := "sqlite:" + filepath.Join(h.cfg.DataDir, databaseFile)
	if h.cfg.Database != "" {
		expanded, _, err := grace.ExpandSecrets(h.cfg.Database)
		if err != nil {
			return nil, fmt.Errorf("database: %w", err)
		}
		url = expanded
	}
	st, err := store.Open(ctx, store.Options{
		URL: url, AuditKey: h.key, Now: now, Checkpoints: filepath.Join(h.cfg.DataDir, checkpointFile), Forged: h.forged, Inspect: inspect, Log: h.log,
	})
	if errors.Is(err, store.ErrOtherKey) {
		where := "it is read from " + h.keyPath()
		if _, set := os.LookupEnv(keyVariable); set {
			where = "it is the value of " + keyVariable
		} else if h.newKey {
			where = "there is none in " + h.keyPath()
		}
		err = fmt.Errorf("%w; %s", err, where)
	}
	if err != nil && h.newKey {
		err = errors.Join(err, os.Remove(h.keyPath()))
	}
	return st, err
}

// bootstrapToken gives the local command line an admin token at the first
// start, in a file that only this user reads.
func (h *dataDirectory) bootstrapToken(ctx context.Context, s *store.Store) error {
	path := filepath.Join(h.cfg.DataDir, tokenFile)
	if data, err := os.ReadFile(path); err == nil {
		t, err := s.TokenByHash(ctx, s.Q(), store.HashToken(strings.TrimSpace(string(data))))
		if err == nil && t.Valid(now()) {
			return nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("look up the command line's token: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the command line's token: %w", err)
	}
	name := "cli-" + hex.EncodeToString(h.derive(now().String()))[:8]
	secret, err := s.CreateToken(ctx, grace.Self, store.NewToken{Name: name, Role: "admin"})
	if err != nil {
		return fmt.Errorf("create the command line's token: %w", err)
	}
	if err := writeSecret(path, secret); err != nil {
		return fmt.Errorf("write the command line's token: %w", err)
	}
	return nil
}

// OpenStore opens the store of a configuration beside a running daemon, or
// without one: for tokens and for verifying the audit log.
func OpenStore(ctx context.Context, cfg *config.Config) (*store.Store, error) {
	return openBeside(ctx, cfg, false)
}

// InspectStore is OpenStore for looking at a store whose audit log does not
// verify.
func InspectStore(ctx context.Context, cfg *config.Config) (*store.Store, error) {
	return openBeside(ctx, cfg, true)
}

func openBeside(ctx context.Context, cfg *config.Config, inspect bool) (*store.Store, error) {
	h, err := openHome(cfg, false)
	if err != nil {
		return nil, err
	}
	return h.openStore(ctx, inspect)
}

// identity names this process, and the engine's executor. On SQLite there is
// one process, and the next one is the same executor: it takes up the runs.
func identity(postgres bool) (owner, executor string) {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	var nonce [6]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		panic("crypto/rand failed: " + err.Error()) // it never does
	}
	owner = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), hex.EncodeToString(nonce[:]))
	if postgres {
		return owner, owner
	}
	return owner, "local"
}
