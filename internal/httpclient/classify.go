package httpclient

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Fault is GRACE's own: it says nothing about whom was asked.
type Fault struct{ Err error }

func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Error is a request without an answer.
type Error struct {
	Connected bool // a connection was had
	TimedOut  bool
	err       error
	text      string // without secrets
}

func (e *Error) Error() string { return e.text }

// Unwrap gives the cause. Its text may hold a secret: only its type counts.
func (e *Error) Unwrap() error { return e.err }

// Class is what an error says about the peer.
type Class int

// Classes. The zero value says that the peer does not answer.
const (
	Down Class = iota // refused, reset, no route to the host, no such host, silent before a connection
	Slow              // it accepted the connection and did not answer in time
	Own               // GRACE's own fault: nothing is known of the peer
)

// Classify tells what an error of Do, of reading its answer or of a dial says
// about the peer.
func Classify(err error) Class {
	if own(err) {
		return Own
	}
	if e, ok := errors.AsType[*Error](err); ok && e.TimedOut && e.Connected {
		return Slow
	}
	return Down
}

// overrun is by how much a look may take longer than its timeout.
const overrun = 2 * time.Second

// Overran gives GRACE's own fault when a look took so much longer than its timeout
// that this process must have stood still meanwhile: what came of it is from before,
// or is only that nobody was there to wait for an answer.
func Overran(took, timeout time.Duration) error {
	if took <= timeout+overrun {
		return nil
	}
	return &Fault{fmt.Errorf("this process stood still: it took %s, and at most %s would have been waited", took.Round(time.Millisecond), timeout)}
}

// own tells whether the reason lies with GRACE, its host or its configuration.
func own(err error) bool {
	if _, ok := errors.AsType[*Fault](err); ok {
		return true
	}
	for _, e := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EACCES, syscall.EPERM,
		syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.EINVAL, syscall.ENOEXEC, syscall.E2BIG, syscall.EAGAIN,
		syscall.ENETUNREACH, syscall.ENETDOWN, // this host has no way into the network
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, exec.ErrDot) {
		return true
	}
	// Before the name: that of a proxy says nothing about the peer.
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "proxyconnect" || socksRefuses(op)) {
		return true
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		// A resolver that does not answer is not a name that does not exist; nor is an
		// address with a part too many or too large.
		return !dns.IsNotFound || dns.Err == "unknown port" || NoHost(dns.Name)
	}
	return impossible(err)
}

// NoHost tells of an address that cannot exist: one of numbers alone that is none. No
// name ends in a number.
func NoHost(host string) bool {
	last := host[strings.LastIndex(strings.TrimSuffix(host, "."), ".")+1:]
	if _, err := strconv.ParseUint(strings.TrimSuffix(last, "."), 10, 64); err != nil {
		return false
	}
	return net.ParseIP(host) == nil
}

// socksRefuses tells whether a SOCKS proxy would not do what it was asked. Some
// of its replies speak of the peer; they have no type.
func socksRefuses(op *net.OpError) bool {
	if !strings.HasPrefix(op.Op, "socks ") || op.Err == nil {
		return false
	}
	text := op.Err.Error()
	return !strings.HasSuffix(text, "connection refused") && !strings.HasSuffix(text, "host unreachable") && !strings.HasSuffix(text, "TTL expired")
}

// impossible tells of an address that cannot exist, and of a certificate that
// GRACE was not told to trust.
func impossible(err error) bool {
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.ParseError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.UnknownNetworkError](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.InvalidAddrError](err); ok {
		return true
	}
	if _, ok := errors.AsType[url.InvalidHostError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.HostnameError](err)
	return ok
}
