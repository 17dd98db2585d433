package httpclient

import (
	"net"
	"testing"
)

func TestNoHost(t *testing.T) {
	for host, want := range map[string]bool{
		"999.1.1.1": true, "10.0.0.256": true, "10.0.0": true, "1.2.3.4.5": true, "web.42": true,
		"10.0.0.25": false, "::1": false, "web": false, "web-1.example.com": false, "web1": false, "web.": false, "": false, "10.0.0.25.": true,
	} {
		if got := NoHost(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if got := Classify(&net.OpError{Op: "dial", Err: &net.DNSError{Name: "999.1.1.1", IsNotFound: true}}); got != Own {
		t.Errorf("dialling what cannot exist is %v", got)
	}
}
