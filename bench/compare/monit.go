package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"grace/examples/shop"
)

// monit asks every service for something real and restarts the one that does
// not answer.
type monit struct {
	running *process
}

const monitConfig = `set daemon 5
set pidfile {{.Dir}}/monit.pid
set idfile {{.Dir}}/monit.id
set statefile {{.Dir}}/monit.state
{{range .Checks}}
check host {{.Name}} with address 127.0.0.1
  restart program = "/usr/bin/curl -fsS -X POST {{$.Control}}/services/{{.Name}}/restart"
  if failed port {{.Port}} protocol http request "{{.Path}}"
      responsetime < 400 milliseconds timeout 2 seconds
    for 2 cycles then restart
{{end}}`

// monitCheck is one service.
type monitCheck struct{ Name, Port, Path string }

// monitPath is what monit asks for: what customers do, where that is a GET.
func monitPath(service string) string {
	switch service {
	case shop.Frontend:
		return "/?user=1&ids=1"
	case shop.Catalog, shop.Store:
		return "/products?ids=1"
	case shop.Cart:
		return "/carts/1"
	case shop.Cache:
		return "/items?ids=1"
	}
	return "/healthz" // checkout takes only POST, which monit cannot send
}

func monitText(s site) string {
	var checks []monitCheck
	for _, n := range sortedServices(s) {
		_, port, _ := strings.Cut(n.Address, ":")
		checks = append(checks, monitCheck{n.Name, port, monitPath(n.Name)})
	}
	return render(monitConfig, struct {
		Dir, Control string
		Checks       []monitCheck
	}{s.dir, s.control, checks})
}

func (m *monit) start(_ context.Context, s site) error {
	path := filepath.Join(s.dir, "monitrc")
	if err := os.WriteFile(path, []byte(monitText(s)), 0o600); err != nil {
		return fmt.Errorf("write monitrc: %w", err)
	}
	var err error
	m.running, err = launch(s.dir, "monit", "monit", "-I", "-c", path)
	return err
}

// calm: monit tells nothing without its web server, which nobody needs here;
// it looks every five seconds, and the wait before a fault is longer.
func (m *monit) calm(context.Context) (bool, error) { return true, m.running.alive() }

func (m *monit) processes() []*process { return []*process{m.running} }

func (m *monit) stop() {
	if m.running != nil {
		m.running.stop()
	}
}
