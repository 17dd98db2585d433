package config

import (
	"errors"
	"strings"

	"grace"
	"grace/internal/httpclient"
)

// HTTPClient says how an address is asked.
type HTTPClient struct {
	httpclient.Auth

	TLS        TLS    `yaml:"tls" doc:"whom to trust and who GRACE is, for https"`
	Proxy      string `yaml:"proxy" doc:"proxy that is asked instead; HTTP_PROXY of the environment does not count" example:"http://proxy.example.com:3128"`
	UnixSocket string `yaml:"unix_socket" doc:"socket that is dialled, whatever the host of the url is" example:"/run/app.sock"`
}

// TLS says whom to trust and who GRACE is, for https.
type TLS httpclient.TLS

// Config gives what the client is built from.
func (c HTTPClient) Config() httpclient.Config {
	return httpclient.Config{Auth: c.Auth, TLS: httpclient.TLS(c.TLS), Proxy: c.Proxy, UnixSocket: c.UnixSocket}
}

// check looks at the credentials of a client.
func (c HTTPClient) check(at spot) {
	at.key("headers").secretsIn(c.Headers)
	at.key("proxy").secretInURL(c.Proxy)
	checkLogin(at, c.Username, c.Password)
	at.addError(c.Config().Validate())
	checkTLS(at.key("tls"), c.TLS)
}

// checkTLS looks at the files, without which no client is made.
func checkTLS(at spot, t TLS) {
	if err := httpclient.TLS(t).ReadFiles(); err != nil && !at.failed() {
		f := grace.FieldErrors(err)[0]
		at.key(f.Path).add(tlsHint+"; GRACE does not start without it", "%v", f.Err)
	}
}

const tlsHint = "write a PEM file there that the user GRACE runs as can read"

// checkSettingsTLS looks at the files that a step's http action names. They are
// read when it runs.
func checkSettingsTLS(at spot, v any) {
	with, _ := v.(map[string]any)
	var t httpclient.TLS
	for key, path := range map[string]*string{"ca": &t.CA, "cert": &t.Cert, "key": &t.Key} {
		*path, _ = with[key].(string)
		if strings.Contains(*path, "${") {
			return
		}
	}
	if err := t.ReadFiles(); err != nil && t.Validate() == nil && !at.failed() {
		f := grace.FieldErrors(err)[0]
		at.key(f.Path).warn(tlsHint+"; until then the step fails", "%v", f.Err)
	}
}

// checkTarget looks at an address of a check, in which parameters may stand.
func checkTarget(at spot, address string) {
	start := strings.TrimPrefix(address, "unix://")
	if address == "" || strings.HasPrefix(start, "${") {
		return
	}
	if _, _, err := httpclient.Target(httpclient.Filled(address)); err != nil {
		at.add("want http:// or https:// and a host, or unix:// and the path of a socket, for example http://127.0.0.1:8080/healthz",
			"%s is not an address that can be asked", quote(address))
	}
}

// checkClientURL looks at an address that may be a socket.
func checkClientURL(at spot, text, example string) {
	if strings.HasPrefix(text, "unix://") {
		if _, _, err := httpclient.Target(text); err != nil {
			at.add("for example unix:///run/app.sock", "%v", errors.Unwrap(err)) // without its key
		}
		return
	}
	checkWebURL(at, text, example)
}
