package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"grace/examples/shop"
)

// graceHealer is GRACE with the configuration of the shop, and the person it
// asks.
type graceHealer struct {
	program string
	listen  string
	running *process
	token   string
	cancel  context.CancelFunc
	person  sync.WaitGroup
}

// approveAfter is how long the person takes.
const approveAfter = 5 * time.Second

// graceConfig fits the shop's configuration to a site: its addresses, and
// nothing else.
func graceConfig(config []byte, listen string, s site) []byte {
	ports := map[string]string{strconv.Itoa(shop.DefaultPort): strings.TrimPrefix(s.control, "http://")}
	for i, name := range shop.Services() {
		ports[strconv.Itoa(shop.DefaultPort+1+i)] = s.services[name]
	}
	address := regexp.MustCompile(`127\.0\.0\.1:(\d+)`)
	text := address.ReplaceAllStringFunc(string(config), func(found string) string {
		_, port, _ := strings.Cut(found, ":")
		if there, ok := ports[port]; ok {
			return there
		}
		return found
	})
	var out bytes.Buffer
	_, _ = fmt.Fprintf(&out, "listen: %q\ndata_dir: data\n", listen)
	out.WriteString(text)
	return out.Bytes()
}

func (g *graceHealer) start(ctx context.Context, s site) error {
	config := filepath.Join(s.dir, "grace.yaml")
	if err := os.WriteFile(config, graceConfig(shop.Config(), g.listen, s), 0o600); err != nil {
		return fmt.Errorf("write GRACE's configuration: %w", err)
	}
	program, err := filepath.Abs(g.program)
	if err != nil {
		return fmt.Errorf("find GRACE: %w", err)
	}
	if g.running, err = launch(s.dir, "grace", program, "serve", "--config", config); err != nil {
		return err
	}
	if err := g.running.ready(ctx, "http://"+g.listen+"/readyz"); err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(s.dir, "data", "cli.token"))
	if err != nil {
		return fmt.Errorf("read GRACE's token: %w", err)
	}
	g.token = strings.TrimSpace(string(token))
	ctx, g.cancel = context.WithCancel(ctx)
	g.person.Go(func() { g.approve(ctx) })
	return nil
}

// approve says yes to whatever is asked, after a while.
func (g *graceHealer) approve(ctx context.Context) {
	for pause(ctx, time.Second) {
		var list struct {
			Items []struct {
				ID       string    `json:"id"`
				State    string    `json:"state"`
				Revision int       `json:"revision"`
				At       time.Time `json:"at"`
			} `json:"items"`
		}
		// A failed look is made up by the next.
		_ = g.ask(ctx, http.MethodGet, "/api/governance/approvals", nil, &list)
		for _, a := range list.Items {
			if a.State == "pending" && time.Since(a.At) >= approveAfter {
				_ = g.ask(ctx, http.MethodPost, "/api/governance/approvals/"+a.ID+"/decision",
					map[string]any{"decision": "approve", "reason": "the comparison's person says yes", "revision": a.Revision}, nil)
			}
		}
	}
}

func (g *graceHealer) ask(ctx context.Context, method, path string, body, out any) error {
	return exchange(ctx, method, "http://"+g.listen+path, g.token, body, out)
}

// calm: no run is open.
func (g *graceHealer) calm(ctx context.Context) (bool, error) {
	var list struct {
		Items []struct {
			EndedAt *time.Time `json:"ended_at"`
		} `json:"items"`
	}
	if err := g.running.alive(); err != nil {
		return false, err
	}
	if err := g.ask(ctx, http.MethodGet, "/api/runs", nil, &list); err != nil {
		return false, err
	}
	for _, r := range list.Items {
		if r.EndedAt == nil {
			return false, nil
		}
	}
	return true, nil
}

func (g *graceHealer) processes() []*process { return []*process{g.running} }

func (g *graceHealer) stop() {
	if g.cancel != nil {
		g.cancel()
		g.person.Wait()
	}
	if g.running != nil {
		g.running.stop()
	}
}
