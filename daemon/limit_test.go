package daemon

import (
	"net"
	"testing"
	"time"

	"grace/internal/config"
)

// TestConnectionsAreLimited: somebody without a token cannot take all
// descriptors by keeping connections open.
func TestConnectionsAreLimited(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	limit := limitConnections(l, 4)
	accepted := make(chan net.Conn, 16)
	go func() {
		for {
			conn, err := limit.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	dial()
	dial()
	first := <-accepted
	<-accepted
	third := dial() // half of all is for one address
	_ = third.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection of one address was kept open")
	}
	_ = first.Close()
	_ = first.Close() // counted once
	dial()
	<-accepted
	if limit.all != 2 {
		t.Errorf("%d connections are counted, 2 are open", limit.all)
	}
}

// TestServerTimes: a peer that neither sends nor reads is cut off.
func TestServerTimes(t *testing.T) {
	var cfg config.Config
	cfg.API.ReadTimeout, cfg.API.WriteTimeout = 1e9, 2e9
	s := (&Daemon{cfg: &cfg, log: collect(nil).log}).httpServer(nil)
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout < cfg.API.WriteTimeout.D() || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("%+v", s)
	}
}
