package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"time"

	"grace"
	"grace/internal/config"
	"grace/internal/httpclient"
)

const (
	// decidedWithin is how old the last reconcile cycle may be: the decider is
	// woken every second.
	decidedWithin = 30 * time.Second
	beatTimeout   = 10 * time.Second
	sayTimeout    = time.Second
)

// alive is nil while GRACE can decide and write: a reconcile cycle ended
// without an error lately, and a small transaction succeeds. What only
// answers requests is not alive.
func (d *Daemon) alive(ctx context.Context) error {
	if err := deciding(d.loop.Reconciled(), time.Now()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := d.store.Writable(ctx); err != nil {
		return fmt.Errorf("the store cannot be written: %w", err)
	}
	return nil
}

// deciding is nil when the last reconcile cycle ended lately.
func deciding(last, now time.Time) error {
	if last.IsZero() || now.Sub(last) > decidedWithin {
		return fmt.Errorf("no reconcile cycle has ended without an error for %s", decidedWithin)
	}
	return nil
}

// heartbeat asks the configured address for as long as GRACE is alive. Whoever
// is behind it raises the alarm when that stops.
func (d *Daemon) heartbeat(ctx context.Context) {
	var client *httpclient.Client
	var made config.Heartbeat // what client was made of
	began, failing := time.Now(), false
	for {
		cfg := d.config().Heartbeat
		pause := max(cfg.Interval.D(), time.Second)
		var err error
		if client == nil || !reflect.DeepEqual(cfg, made) {
			client, err = httpclient.New(cfg.Config())
			made = cfg
		}
		if err == nil {
			err = d.beat(ctx, client, cfg)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && d.loop.Reconciled().IsZero() && time.Since(began) < decidedWithin:
			pause, err = time.Second, nil // GRACE begins: its first reconcile cycle is still to come
		case err != nil:
			d.log.Warn("no heartbeat was sent", "error", err)
		case failing:
			d.log.Info("heartbeats are sent again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// beat is one heartbeat.
func (d *Daemon) beat(ctx context.Context, client *httpclient.Client, cfg config.Heartbeat) error {
	if cfg.URL == "" {
		return nil
	}
	if err := d.alive(ctx); err != nil {
		return err
	}
	url, secrets, err := grace.ExpandSecrets(cfg.URL)
	if err != nil {
		return fmt.Errorf("heartbeat.url: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("heartbeat: %s", grace.Redact(err.Error(), secrets))
	}
	resp, _, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("heartbeat: %s", grace.Redact(err.Error(), secrets))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, grace.MaxOutput)) // the status says it all
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("heartbeat: answered %s", resp.Status)
	}
	return nil
}

// supervisor speaks sd_notify to the service manager that started us, if one
// did: the protocol is a datagram to the socket that NOTIFY_SOCKET names.
type supervisor struct {
	socket string
	every  time.Duration // between two signs of life; 0 when none is wanted
}

func newSupervisor(env func(string) string) supervisor {
	s := supervisor{socket: env("NOTIFY_SOCKET")}
	if s.socket != "" && s.socket[0] == '@' { // of Linux's abstract namespace
		s.socket = "\x00" + s.socket[1:]
	}
	if pid := env("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s // the sign is wanted of somebody else
	}
	if usec, err := strconv.ParseInt(env("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
		s.every = time.Duration(usec) * time.Microsecond / 3
	}
	return s
}

// say sends a state. Without a service manager it does nothing.
func (s supervisor) say(state string) error {
	if s.socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	// A service manager that does not read must not hold GRACE up.
	if err = conn.SetWriteDeadline(time.Now().Add(sayTimeout)); err == nil {
		_, err = conn.Write([]byte(state))
	}
	return errors.Join(err, conn.Close())
}

// watchdog gives signs of life to the service manager while GRACE is alive.
func (d *Daemon) watchdog(ctx context.Context) {
	if d.supervisor.socket == "" || d.supervisor.every <= 0 {
		return
	}
	tick := time.NewTicker(d.supervisor.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.alive(ctx)
		if err == nil {
			err = d.supervisor.say("WATCHDOG=1")
		}
		if err != nil && ctx.Err() == nil {
			d.log.Warn("no sign of life was given to the service manager", "error", err)
		}
	}
}
