package shop

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed grace.yaml
var config []byte

// Config gives GRACE's configuration for a shop on [DefaultPort].
func Config() []byte { return append([]byte(nil), config...) }

// Options of [Start]. The zero value of each field but Command and Dir is the
// default.
type Options struct {
	// Command starts a binary that hands the words after it to [Main]: for
	// one that embeds the shop as "grace-demo shop", its path and "shop".
	Command []string
	// Dir holds the state file and the log (shop.log). It is made if missing.
	Dir string
	// Port is the platform's (default [DefaultPort]); below 0 is any free ones.
	Port int
	// Load scales the load generator (default 1); below 0 is none.
	Load float64
	// Poll is how often the platform looks at each replica (default 500 ms).
	Poll time.Duration
}

// startWait is how long a platform may take to serve with all its replicas.
const startWait = 5 * time.Minute

// Client talks to a platform.
type Client struct {
	URL      string            // of the platform
	PID      int               // of the platform
	Services map[string]string // URL by name
	Reused   bool              // it ran before Start was called
	http     *http.Client
}

// Start finds the platform whose state file is in opts.Dir, or starts one and
// waits until all its services serve. The platform outlives the caller; only
// [Client.Shutdown] ends it.
func Start(ctx context.Context, opts Options) (*Client, error) {
	if c, err := Find(ctx, opts.Dir); err == nil {
		c.Reused = true
		return c, nil
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the shop's directory: %w", err)
	}
	path := filepath.Join(opts.Dir, "shop.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the shop's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(opts.Command[0], append(append([]string{}, opts.Command[1:]...), opts.args()...)...)
	cmd.Stdout, cmd.Stderr = log, log
	ownSession(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the shop: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the shop ended while it started (%w): %s", err, tail(path))
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			return nil, fmt.Errorf("the shop did not serve in %s: %s", startWait, tail(path))
		case <-tick.C:
			if c, err := Find(ctx, opts.Dir); err == nil {
				return c, nil
			}
		}
	}
}

func (o Options) args() []string {
	args := []string{"platform", "-dir", o.Dir}
	if o.Port != 0 {
		args = append(args, "-port", strconv.Itoa(max(o.Port, 0)))
	}
	if o.Load != 0 {
		args = append(args, "-load", strconv.FormatFloat(max(o.Load, 0), 'g', -1, 64))
	}
	if o.Poll != 0 {
		args = append(args, "-poll", o.Poll.String())
	}
	return args
}

// tail gives the end of the log, for an error that says what happened.
func tail(path string) string {
	const most = 600
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-most):])
}

// Find gives the running platform whose state file is in dir; an error when
// there is none, or when another one answers at its address.
func Find(ctx context.Context, dir string) (*Client, error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, fmt.Errorf("find the shop: %w", err)
	}
	var s, live state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read the shop's state: %w", err)
	}
	c := &Client{URL: s.URL, PID: s.PID, Services: s.Services, http: &http.Client{Timeout: startPatience + pollPatience}}
	if err := c.do(ctx, http.MethodGet, "/healthz", nil, &live); err != nil {
		return nil, err
	}
	if live.PID != s.PID || !live.Started.Equal(s.Started) {
		return nil, errors.New("find the shop: another one has its address")
	}
	return c, nil
}

func (c *Client) do(ctx context.Context, method, path string, body, out any) error {
	if _, err := request(ctx, c.http, method, c.URL+path, body, out); err != nil {
		return fmt.Errorf("shop: %s %s: %w", method, path, err)
	}
	return nil
}

// Inject starts a fault.
func (c *Client) Inject(ctx context.Context, service string, kind Kind) (Fault, error) {
	var f Fault
	err := c.do(ctx, http.MethodPost, "/faults", map[string]any{"service": service, "kind": kind}, &f)
	return f, err
}

// Faults gives every fault there was, the cured ones too.
func (c *Client) Faults(ctx context.Context) ([]Fault, error) {
	var all []Fault
	err := c.do(ctx, http.MethodGet, "/faults?all=true", nil, &all)
	return all, err
}

// Heal undoes a fault by hand. A cured one stays as it is.
func (c *Client) Heal(ctx context.Context, id string) (Fault, error) {
	var f Fault
	err := c.do(ctx, http.MethodDelete, "/faults/"+id, nil, &f)
	return f, err
}

// Statuses gives all services in the order of [Services].
func (c *Client) Statuses(ctx context.Context) ([]Status, error) {
	var all []Status
	err := c.do(ctx, http.MethodGet, "/services", nil, &all)
	return all, err
}

// Control posts to a service's control path, for example "restart" or
// "scale", and decodes the answer into out unless that is nil.
func (c *Client) Control(ctx context.Context, service, path string, body, out any) error {
	return c.do(ctx, http.MethodPost, "/services/"+service+"/"+path, body, out)
}

// Load gives what the customers saw in the last two minutes.
func (c *Client) Load(ctx context.Context) (LoadStatus, error) {
	var s LoadStatus
	err := c.do(ctx, http.MethodGet, "/load", nil, &s)
	return s, err
}

// Effects gives what became of every idempotency key.
func (c *Client) Effects(ctx context.Context) ([]Effect, error) {
	var all []Effect
	err := c.do(ctx, http.MethodGet, "/effects", nil, &all)
	return all, err
}

// Shutdown ends the platform with all its processes. It returns when the
// platform no longer answers.
func (c *Client) Shutdown(ctx context.Context) error {
	if err := c.do(ctx, http.MethodPost, "/shutdown", nil, nil); err != nil {
		return err
	}
	for c.do(ctx, http.MethodGet, "/healthz", nil, nil) == nil {
		pause(ctx, 20*time.Millisecond)
	}
	return ctx.Err()
}
