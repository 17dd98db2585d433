package daemon

import (
	"net"
	"sync"
	"syscall"
)

// defaultConnections is how many connections are served at once, if the system
// lets the process have twice as many descriptors: the other half is for the
// database, for probes and for actions.
const defaultConnections = 1024

// connections bounds how many connections a listener has open, altogether and
// from one address. What is beyond is closed at once: whoever keeps connections
// open, without a token, must not take the descriptors that GRACE looks after
// others with.
type connections struct {
	net.Listener

	total, each int

	mu   sync.Mutex
	open map[string]int
	all  int
}

// limitConnections bounds a listener; most is the configured number, 0 is the
// default.
func limitConnections(l net.Listener, most int) *connections {
	if most <= 0 {
		most = defaultConnections
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur/2 < uint64(most) {
		most = max(int(files.Cur/2), 1)
	}
	return &connections{Listener: l, total: most, each: max(most/2, 1), open: map[string]int{}}
}

// Accept gives the next connection within the limits.
func (c *connections) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err != nil {
			host = conn.RemoteAddr().String()
		}
		if !c.enter(host) {
			_ = conn.Close()
			continue
		}
		return &limited{Conn: conn, leave: sync.OnceFunc(func() { c.leave(host) })}, nil
	}
}

func (c *connections) enter(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.total || c.open[host] >= c.each {
		return false
	}
	c.all++
	c.open[host]++
	return true
}

func (c *connections) leave(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.open[host]--; c.open[host] == 0 {
		delete(c.open, host)
	}
}

// limited is a connection that is counted until it is closed.
type limited struct {
	net.Conn

	leave func()
}

// Close meets net.Conn.
func (l *limited) Close() error {
	l.leave()
	return l.Conn.Close()
}
