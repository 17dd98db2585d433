package httpclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"grace"
)

// TLS says whom to trust and who GRACE is, for https.
type TLS struct {
	CA         string `yaml:"ca" json:"ca,omitempty" doc:"PEM file of authorities that are trusted besides the system's"`
	Cert       string `yaml:"cert" json:"cert,omitempty" doc:"PEM file of GRACE's certificate, with key; read anew for every connection"`
	Key        string `yaml:"key" json:"key,omitempty" doc:"PEM file of its key"`
	ServerName string `yaml:"server_name" json:"server_name,omitempty" doc:"name that the server's certificate must hold (default: the host of the url)"`
	Insecure   bool   `yaml:"insecure" json:"insecure,omitempty" doc:"accept any certificate: whoever is in between can answer instead"`
}

// Auth says how GRACE proves who it is. At most one of bearer_token and
// username may be given.
type Auth struct {
	Headers     map[string]string `yaml:"headers" doc:"sent along; credentials as ${env:NAME} or ${file:PATH}"`
	BearerToken string            `yaml:"bearer_token" secret:"true" doc:"sent as Authorization: Bearer" example:"\"${env:PROMETHEUS_TOKEN}\""`
	Username    string            `yaml:"username" doc:"of basic authentication"`
	Password    string            `yaml:"password" secret:"true" doc:"of basic authentication" example:"\"${file:/etc/grace/password}\""`
}

// Redirects says what becomes of a redirect.
type Redirects int

// What becomes of a redirect. The zero value is the strictest.
const (
	RedirectNever      Redirects = iota // it is the answer
	RedirectSameOrigin                  // followed within the same scheme and host
	RedirectAnywhere                    // followed; another host gets no headers of ours
)

// Config of a client.
type Config struct {
	Auth

	TLS        TLS
	Proxy      string // URL of the proxy; empty is none
	UnixSocket string // path of a socket that is dialled whatever the URL's host is
	Redirects  Redirects
	// Anew connects anew for every request: a kept connection goes on working
	// after a server has stopped to accept others.
	Anew bool
}

// Validate names everything that is wrong with the configuration. Files and
// secrets are not looked at.
func (c Config) Validate() error {
	errs := []error{c.Auth.Validate(), grace.Under("tls", c.TLS.Validate())}
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" {
			errs = append(errs, grace.Field("proxy", "want http://, https:// or socks5:// and a host"))
		}
	}
	if c.UnixSocket != "" && !strings.HasPrefix(c.UnixSocket, "/") && !strings.HasPrefix(c.UnixSocket, "@") {
		errs = append(errs, grace.Field("unix_socket", "want an absolute path, for example /run/app.sock"))
	}
	return errors.Join(errs...)
}

// Validate names what is wrong with the credentials.
func (a Auth) Validate() error {
	switch {
	case a.BearerToken != "" && a.Username != "":
		return grace.Field("bearer_token", "excludes username; remove one of the two")
	case a.Password != "" && a.Username == "":
		return grace.Field("password", "there is no username for it")
	}
	for _, k := range slices.Sorted(maps.Keys(a.Headers)) {
		if err := ValidHeader(k, a.Headers[k]); err != nil {
			return err
		}
		if strings.EqualFold(k, "Authorization") && (a.BearerToken != "" || a.Username != "") {
			return grace.Field("headers."+k, "excludes bearer_token and username; remove it, or them")
		}
	}
	return nil
}

// reference stands in an address for what is put there when it is asked.
var reference = regexp.MustCompile(`\$\{[^}]*\}`)

// Filled gives an address with something in the place of every reference, to be
// looked at before that is known: 1 is good in a host, in a port and in a path.
func Filled(address string) string { return reference.ReplaceAllString(address, "1") }

// Token tells whether text is a token of RFC 9110, as methods and header names
// are.
func Token(text string) bool {
	for _, r := range text {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) {
			return false
		}
	}
	return text != ""
}

// ValidHeader names what is wrong with a header as it is written.
func ValidHeader(name, value string) error {
	switch {
	case !Token(name):
		return grace.Field("headers", "%q is no header name; it has no spaces or colons, for example X-Api-Key", name)
	case hasControl(value):
		return grace.Field("headers."+name, "it holds a line break or another control character; write it without one")
	}
	return nil
}

// hasControl tells of characters that no header's value may hold.
func hasControl(value string) bool {
	return strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// Validate names what is wrong with the settings; ReadFiles looks at the files.
func (t TLS) Validate() error {
	if (t.Cert == "") != (t.Key == "") {
		return errors.New("cert and key go together")
	}
	return nil
}

// ReadFiles names what is wrong with the files, as New would. The error is a
// [grace.FieldError]; one about both the certificate and its key is of cert.
func (t TLS) ReadFiles() error {
	_, err := t.Config()
	return err
}

// Config reads the files, with the errors of ReadFiles.
func (t TLS) Config() (*tls.Config, error) {
	conf := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.Insecure, MinVersion: tls.VersionTLS12} //nolint:gosec // insecure is the operator's word
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, grace.Field("ca", "%w", err)
		}
		if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
			conf.RootCAs = x509.NewCertPool()
		}
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, grace.Field("ca", "%s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			if err != nil {
				return nil, grace.Field("cert", "with its key: %w", &Fault{err})
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		// Anew for every connection: certificates are short-lived.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return conf, nil
}

// Target splits an address: unix:///run/app.sock:/healthz is the path /healthz
// asked over the socket /run/app.sock; any other must be http or https.
func Target(address string) (httpURL, socket string, err error) {
	if rest, ok := strings.CutPrefix(address, "unix://"); ok {
		socket, path, _ := strings.Cut(rest, ":")
		if !strings.HasPrefix(socket, "/") || path != "" && path[0] != '/' {
			return "", "", grace.Field("url", "%q: want unix:///path/of.sock or unix:///path/of.sock:/path", address)
		}
		if path == "" {
			path = "/"
		}
		return "http://localhost" + path, socket, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", "", grace.Field("url", "%q: want http:// or https:// and a host, or unix:// and the path of a socket", grace.CleanOutput(address))
	}
	if NoHost(u.Hostname()) {
		return "", "", grace.Field("url", "%q: %s is no IP address, and no name of a host", grace.CleanOutput(address), u.Hostname())
	}
	if n, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || n < 1 || n > 65535) {
		return "", "", grace.Field("url", "%q: a port is a number from 1 to 65535", address)
	}
	return address, "", nil
}
