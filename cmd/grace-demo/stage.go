package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"grace/examples/shop"
	"grace/internal/cli"
)

// stage is what the story plays on: the shop and GRACE, as processes.
type stage struct {
	opts    demoOptions
	tell    *teller
	program string   // GRACE's
	base    string   // the demo's folder: lock, shop state, GRACE's data
	home    string   // GRACE's folder of this demo
	lock    *os.File // one demo at a time in a folder
	shop    *shop.Client
	before  *shopBefore // what GRACE reads of the hours before
	grace   *child
	admin   *cli.Client // what GRACE made for its own command line
	person  *cli.Client // the story's operator
}

// demoFolder is where a demo without --data-dir lives: the same place every
// time, so that the next one finds what a killed one left.
func demoFolder(port int) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", &cli.Failure{Code: cli.ExitUsage, Message: "no folder for the demo: " + err.Error(), Hint: "name one with --data-dir", Cause: err}
	}
	return filepath.Join(cache, "grace-demo", strconv.Itoa(port)), nil
}

// lockFolder makes sure that no other demo runs there.
func (s *stage) lockFolder() error {
	if err := os.MkdirAll(s.base, 0o700); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.base, "demo.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the demo's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return &cli.Failure{Code: cli.ExitConflict, Message: "another demo runs in " + s.base, Hint: "end it with Ctrl-C, or start this one with --data-dir, --shop-port and --listen of its own", Cause: err}
	}
	s.lock = f
	return nil
}

// open starts everything. On an error the caller still closes the stage.
func (s *stage) open(ctx context.Context) error {
	if err := s.lockFolder(); err != nil {
		return err
	}
	if err := s.clearStale(ctx); err != nil {
		return err
	}
	if err := s.checkPorts(); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	s.shop, err = shop.Start(ctx, shop.Options{Command: []string{exe, "shop"}, Dir: s.shopDir(), Port: s.opts.shopPort})
	if err != nil {
		return err
	}
	s.tell.say(voiceShop, "%d services serve customers (platform at %s, pid %d)", len(s.shop.Services), s.shop.URL, s.shop.PID)
	return s.openGrace(ctx)
}

func (s *stage) shopDir() string { return filepath.Join(s.base, "shop") }

// clearStale ends the shop that a killed demo left behind: its faults and its
// counters belong to another story.
func (s *stage) clearStale(ctx context.Context) error {
	old, err := shop.Find(ctx, s.shopDir())
	if err != nil {
		return nil //nolint:nilerr // there is none
	}
	s.tell.say(voiceShop, "an earlier demo left its shop (pid %d); it is replaced", old.PID)
	if err := old.Shutdown(ctx); err != nil {
		return fmt.Errorf("end the earlier shop: %w", err)
	}
	return nil
}

// checkPorts finds a port in use before anything is started.
func (s *stage) checkPorts() error {
	for i := range len(shop.Services()) + 1 {
		port := s.opts.shopPort + i
		if err := tryListen("127.0.0.1:"+strconv.Itoa(port), "choose seven free ports in a row with --shop-port"); err != nil {
			return err
		}
	}
	return tryListen(s.opts.listen, "choose another address with --listen")
}

func tryListen(addr, remedy string) error {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l.Close()
	}
	_, port, _ := net.SplitHostPort(addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &cli.Failure{Code: cli.ExitConflict, Message: fmt.Sprintf("port %s is in use (%s)", port, addr), Hint: fmt.Sprintf("%s, or end what uses it: ss -ltnp 'sport = :%s'", remedy, port), Cause: err}
	}
	return &cli.Failure{Code: cli.ExitUsage, Message: fmt.Sprintf("cannot listen on %s: %v", addr, err), Hint: remedy, Cause: err}
}

func (s *stage) openGrace(ctx context.Context) error {
	if s.opts.dataDir == "" {
		s.sweep()
	}
	s.home = filepath.Join(s.base, "grace-"+time.Now().UTC().Format("20060102-150405"))
	data := filepath.Join(s.home, "data")
	if err := os.MkdirAll(s.home, 0o700); err != nil {
		return fmt.Errorf("make GRACE's folder: %w", err)
	}
	var err error
	if s.before, err = newShopBefore(ctx); err != nil {
		return err
	}
	config := filepath.Join(s.home, "grace.yaml")
	text := append(demoConfig(shop.Config(), s.opts.listen, data, s.opts.shopPort), s.before.config()...)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return fmt.Errorf("write GRACE's configuration: %w", err)
	}
	s.grace = &child{command: []string{s.program, "serve", "--config", config}, log: filepath.Join(s.home, "grace.log"), tell: s.tell}
	if err := s.grace.start(); err != nil {
		s.grace = nil
		return err
	}
	url := "http://" + s.opts.listen
	if err := s.grace.ready(ctx, url); err != nil {
		return err
	}
	tokenFile := filepath.Join(data, "cli.token")
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return fmt.Errorf("read the token that GRACE made: %w", err)
	}
	s.admin = cli.NewClient(url, strings.TrimSpace(string(token)), answerTime)
	made, err := s.admin.CreateToken(ctx, "storyteller", "approver", nil)
	if err != nil {
		return err
	}
	s.person = cli.NewClient(url, made.Secret, answerTime)
	_, port, _ := net.SplitHostPort(s.opts.listen)
	s.tell.say(voiceGrace, "watches the shop (pid %d); console at http://localhost:%s", s.grace.pid(), port)
	s.tell.say(voiceStory, "ask it yourself: grace --url %s --token-file %s status", url, tokenFile)
	return nil
}

// sweep removes the data of demos that were killed. The folder is the demo's
// own, and locked.
func (s *stage) sweep() {
	old, _ := filepath.Glob(filepath.Join(s.base, "grace-*")) // the pattern is sound
	for _, dir := range old {
		_ = os.RemoveAll(dir) // what stays is swept next time
	}
}

// close ends GRACE, then the shop, and removes what nobody asked to keep.
func (s *stage) close(keep bool) error {
	var errs []error
	if s.grace != nil {
		s.grace.stop()
	}
	if s.before != nil {
		errs = append(errs, s.before.close())
	}
	if s.shop != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		if err := s.shop.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("end the shop: %w", err))
		}
	}
	if s.home != "" {
		if keep || s.opts.dataDir != "" {
			s.tell.say(voiceStory, "GRACE's data and log are kept in %s", s.home)
		} else {
			errs = append(errs, os.RemoveAll(s.home))
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// demoConfig fits the shop's configuration to this demo: where GRACE listens,
// where its data is, and which ports the shop has.
func demoConfig(config []byte, listen, data string, shopPort int) []byte {
	ports := regexp.MustCompile(`127\.0\.0\.1:(\d+)`)
	text := ports.ReplaceAllStringFunc(string(config), func(address string) string {
		n, err := strconv.Atoi(strings.TrimPrefix(address, "127.0.0.1:"))
		if err != nil || n < shop.DefaultPort || n > shop.DefaultPort+len(shop.Services()) {
			return address
		}
		return "127.0.0.1:" + strconv.Itoa(n-shop.DefaultPort+shopPort)
	})
	var out bytes.Buffer
	_, _ = fmt.Fprintf(&out, "listen: %q\ndata_dir: %q\n", listen, data)
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "listen:") && !strings.HasPrefix(line, "data_dir:") {
			out.WriteString(line)
		}
	}
	return out.Bytes()
}
