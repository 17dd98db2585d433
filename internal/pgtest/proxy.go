package pgtest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Proxy stands between one client and a database, so that a test can take the
// network away from that client alone.
type Proxy struct {
	network, server string
	query           string

	mu       sync.Mutex
	address  string
	listener net.Listener // nil while cut
	conns    map[net.Conn]struct{}
	done     sync.WaitGroup
}

// NewProxy starts a proxy to the database that a URL of this package names.
func NewProxy(tb testing.TB, database string) *Proxy {
	tb.Helper()
	config, err := pgx.ParseConfig(database)
	if err != nil {
		tb.Fatalf("read the URL: %v", err)
	}
	p := &Proxy{address: "127.0.0.1:0", query: "/" + config.Database + "?sslmode=disable", conns: map[net.Conn]struct{}{}}
	p.network, p.server = pgNetwork(config)
	p.Join(tb)
	tb.Cleanup(p.Cut)
	return p
}

func pgNetwork(config *pgx.ConnConfig) (network, address string) {
	if len(config.Host) > 0 && config.Host[0] == '/' {
		return "unix", config.Host + "/.s.PGSQL.5432"
	}
	return "tcp", config.Host
}

// URL of the database by way of the proxy.
func (p *Proxy) URL() string {
	return (&url.URL{Scheme: "postgres", User: url.User("postgres"), Host: p.address}).String() + p.query
}

// Cut breaks every connection without a word, and lets none be made.
func (p *Proxy) Cut() {
	p.mu.Lock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
}

// Join ends a cut.
func (p *Proxy) Join(tb testing.TB) {
	tb.Helper()
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		tb.Fatalf("listen for the proxy: %v", err)
	}
	p.mu.Lock()
	p.listener, p.address = listener, listener.Addr().String()
	p.mu.Unlock()
	p.done.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.done.Go(func() { p.carry(client) })
		}
	})
}

func (p *Proxy) carry(client net.Conn) {
	server, err := net.Dial(p.network, p.server)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	cut := p.listener == nil
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	if !cut {
		var both sync.WaitGroup
		pipe := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_ = to.Close()
			_ = from.Close()
		}
		both.Go(func() { pipe(server, client) })
		both.Go(func() { pipe(client, server) })
		both.Wait()
	}
	_ = client.Close()
	_ = server.Close()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}
