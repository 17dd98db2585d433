// Package pgtest gives tests a PostgreSQL of their own.
//
// The server is a temporary cluster in the temporary directory, reached over a
// unix socket in its own directory: no port can clash and nobody else can
// reach it. [Start] shares one cluster within a test binary and hands out a
// fresh database per call; [StartCluster] starts one that a test may stop and
// restart at will, and [Open] one for a program that is no test. A [Proxy]
// takes the network away from one client.
//
// A test is skipped, with an installation hint, where PostgreSQL is missing.
// PostgreSQL refuses to run as root, so a root test runs it as the user
// "postgres" (or "nobody").
//
// A cluster never outlives its test binary, not even a killed one: a guarding
// shell holds a pipe to the test process, and when the pipe closes it stops
// the server and removes the directory.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Hint says how PostgreSQL is installed.
const Hint = "PostgreSQL's server is not installed: install it (Debian: apt-get install postgresql) or put initdb and postgres on the PATH"

const startTimeout = 5 * time.Minute

// Settings for a server whose data may be lost: what a test wants.
var fast = []string{"fsync=off", "synchronous_commit=off", "full_page_writes=off"} //nolint:gochecknoglobals // a constant table

// Start gives the URL of a fresh, empty database on the cluster that the test
// binary shares. The database is dropped when the test ends.
func Start(tb testing.TB) (url string) {
	tb.Helper()
	return shared.get(tb).database(tb)
}

// sharedCluster is one per test binary: starting a cluster takes a second.
type sharedCluster struct {
	mu sync.Mutex
	c  *Cluster
}

var shared sharedCluster //nolint:gochecknoglobals // one server per test binary is the purpose

func (s *sharedCluster) get(tb testing.TB) *Cluster {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		s.c = newCluster(tb, fast)
	}
	return s.c
}

// Cluster is a PostgreSQL server with a directory of its own.
type Cluster struct {
	dir      string
	bin      string
	settings []string
	run      func(name string, args ...string) *exec.Cmd

	mu     sync.Mutex
	server *exec.Cmd // the guarding shell; nil while stopped
	guard  *os.File  // closing it stops the server
	serial int       // of databases
}

// StartCluster starts a cluster for this test only; it ends with the test.
// settings ("fsync=on") override those that trade durability for speed.
func StartCluster(tb testing.TB, settings ...string) *Cluster {
	tb.Helper()
	c := newCluster(tb, append(slices.Clone(fast), settings...))
	tb.Cleanup(c.Close)
	return c
}

// Open starts a cluster for a program. It is ended by Close.
func Open(settings ...string) (*Cluster, error) {
	return open(append(slices.Clone(fast), settings...))
}

// Close ends the server and removes its data.
func (c *Cluster) Close() {
	c.Stop()
	_ = os.RemoveAll(c.dir)
}

// URL names a database of the cluster, creating it where it is missing.
func (c *Cluster) URL(tb testing.TB, db string) string {
	tb.Helper()
	url, err := c.Database(db)
	if err != nil {
		tb.Fatal(err)
	}
	return url
}

// Database is URL for a program.
func (c *Cluster) Database(db string) (url string, err error) {
	err = c.exec(fmt.Sprintf("CREATE DATABASE %s", pgx.Identifier{db}.Sanitize()))
	if err != nil && !strings.Contains(err.Error(), "already exists") {
		return "", fmt.Errorf("create database %s: %w", db, err)
	}
	return c.url(db), nil
}

// Stop ends the server at once, as a crash would for its clients, and waits
// until it is gone. Stopping a stopped cluster does nothing.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return
	}
	_ = c.guard.Close()
	_ = c.server.Wait()
	c.server, c.guard = nil, nil
}

// Restart starts the server again on the same data and the same URLs, after
// stopping it where it runs.
func (c *Cluster) Restart(tb testing.TB) {
	tb.Helper()
	if err := c.Again(); err != nil {
		tb.Fatal(err)
	}
}

// Again is Restart for a program.
func (c *Cluster) Again() error {
	c.Stop()
	if err := c.start(); err != nil {
		return fmt.Errorf("restart PostgreSQL: %w", err)
	}
	return nil
}

func (c *Cluster) url(db string) string {
	return "postgres://postgres@/" + db + "?host=" + c.dir
}

func (c *Cluster) database(tb testing.TB) string {
	tb.Helper()
	c.mu.Lock()
	c.serial++
	name := "test" + strconv.Itoa(c.serial)
	c.mu.Unlock()
	url := c.URL(tb, name)
	tb.Cleanup(func() {
		if err := c.exec("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
			tb.Logf("drop database %s: %v", name, err)
		}
	})
	return url
}

// exec has a context of its own: it also runs when the test's is done.
func (c *Cluster) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// errMissing: there is no PostgreSQL on this machine.
var errMissing = errors.New(Hint)

func newCluster(tb testing.TB, settings []string) *Cluster {
	tb.Helper()
	c, err := open(settings)
	if errors.Is(err, errMissing) {
		tb.Skip(Hint)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func open(settings []string) (*Cluster, error) {
	bin, ok := findBinaries()
	if !ok {
		return nil, errMissing
	}
	// Not tb.TempDir: its parents are closed to other users, and a shared
	// cluster outlives the test that started it.
	dir, err := os.MkdirTemp("", "grace-pg-")
	if err != nil {
		return nil, fmt.Errorf("create the cluster's directory: %w", err)
	}
	c := &Cluster{dir: dir, bin: bin, settings: settings}
	if c.run, err = unprivileged(dir); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	initdb := c.run(filepath.Join(bin, "initdb"), "--pgdata="+c.data(), "--username=postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := c.start(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return c, nil
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// guardScript runs "$@" until standard input closes, then interrupts it. A
// guard whose test process is gone also removes the directory, which a test
// that stops the cluster on purpose still needs.
const guardScript = `parent=$1; dir=$2; shift 2
"$@" >>"$dir/log" 2>&1 </dev/null &
pid=$!
cat >/dev/null
kill -INT $pid
wait $pid
kill -0 "$parent" 2>/dev/null || [ -d "/proc/$parent" ] || rm -rf "$dir"`

func (c *Cluster) start() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	args := []string{
		"-c", guardScript, "guard", strconv.Itoa(os.Getpid()), c.dir,
		filepath.Join(c.bin, "postgres"), "-D", c.data(), "-k", c.dir, "-h", "", "-c", "max_connections=200",
	}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	cmd := c.run("/bin/sh", args...)
	cmd.Stdin = r
	// A group of its own: an interrupt typed at the test must not reach the
	// server before the test has cleaned up.
	cmd.SysProcAttr.Setpgid = true
	err = cmd.Start()
	_ = r.Close()
	if err != nil {
		_ = w.Close()
		return err
	}
	c.mu.Lock()
	c.server, c.guard = cmd, w
	c.mu.Unlock()
	return c.await()
}

func (c *Cluster) await() error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := c.exec("SELECT 1")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return fmt.Errorf("no answer within %v: %w\n%s", startTimeout, err, log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func findBinaries() (dir string, ok bool) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && hasServer(filepath.Dir(path)) {
			return filepath.Dir(path), true
		}
	}
	// Debian keeps them out of the PATH, one directory a major version.
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, d := range slices.Backward(dirs) {
		if hasServer(d) {
			return d, true
		}
	}
	return "", false
}

func hasServer(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// unprivileged gives a way to start commands as a user that PostgreSQL
// accepts, and hands that user the directory.
func unprivileged(dir string) (func(string, ...string) *exec.Cmd, error) {
	attr := syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		uid, gid, err := serverUser()
		if err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...) //nolint:noctx // ended by its guard
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: attr.Credential}
		return cmd
	}, nil
}

func serverUser() (uid, gid uint32, err error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return uint32(uid), uint32(gid), nil
		}
	}
	return 0, 0, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}
