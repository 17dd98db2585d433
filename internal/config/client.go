package config

import (
	"strings"

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
	at.addError(c.Config().Validate())
}

// checkClientURL looks at an address that may be a socket.
func checkClientURL(at spot, text, example string) {
	if strings.HasPrefix(text, "unix://") {
		if _, _, err := httpclient.Target(text); err != nil {
			at.add("for example unix:///run/app.sock", "%v", err)
		}
		return
	}
	checkWebURL(at, text, example)
}
