package notify

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/httpclient"
)

// letter is what the mail server took.
type letter struct {
	From string
	To   []string
	TLS  bool
	Data string
}

// smtpServer is a real mail server.
type smtpServer struct {
	address, ca string
	out         *bufio.Reader
}

const python = "/usr/bin/python3" // Debian's, which sees Debian's modules

func startSMTP(t *testing.T) *smtpServer {
	t.Helper()
	if err := exec.CommandContext(t.Context(), python, "-c", "import aiosmtpd").Run(); err != nil {
		t.Skip("no mail server: apt-get install python3-aiosmtpd")
	}
	s := &smtpServer{}
	dir := t.TempDir()
	cert, key := selfSigned(t, dir)
	s.ca = cert
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = free.Addr().String()
	_ = free.Close() // the module cannot tell which port it chose
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/smtpd.py", cert, key, port)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	s.out = bufio.NewReader(out)
	if line, err := s.out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the mail server did not start: %q %v", line, err)
	}
	return s
}

func (s *smtpServer) next(t *testing.T) letter {
	t.Helper()
	line, err := s.out.ReadBytes('\n')
	var l letter
	if err == nil {
		err = json.Unmarshal(line, &l)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// selfSigned makes a certificate for 127.0.0.1.
func selfSigned(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestEmail speaks to a real server: STARTTLS, a login, threads, and what the
// server puts off or refuses.
func TestEmail(t *testing.T) {
	s := startSMTP(t)
	t.Setenv("SMTP_PASSWORD", "s3cret")
	r := Receiver{
		Name: "mail", Type: "email", Server: s.address, From: "GRACE <grace@example.com>", To: []string{"ada@example.com", "Bob <bob@example.com>"},
		Username: "grace", Password: "${env:SMTP_PASSWORD}", TLS: ReceiverTLS{TLS: httpclient.TLS{CA: s.ca}},
	}
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{r}}})
	inc := grace.Incident{
		ID: "i-1", State: grace.IncidentOpen, Service: "web", Severity: grace.SeverityCritical, OpenedAt: e.now,
		Title: "Wärme fällt aus\r\nBcc: evil@example.com", Detail: "a <b>line</b>\n.\nand a dot",
	}
	e.apply(event.Given{Incidents: []grace.Incident{inc}, Outbox: []grace.Event{{Type: "incident.opened", Resource: "incident/i-1", Payload: event.Encode(inc)}}})
	e.incident("i-1", "web", "resolved")
	e.turn("mail")

	first := s.next(t)
	equal(t, fmt.Sprint(first.From, first.To, first.TLS), "grace@example.com[ada@example.com bob@example.com] true")
	m, err := mail.ReadMessage(strings.NewReader(first.Data))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "[GRACE] Wärme fällt aus  Bcc: evil@example.com" || m.Header.Get("Bcc") != "" {
		t.Errorf("subject %q, %v", subject, err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("References") != "" || m.Header.Get("X-Priority") != "1" {
		t.Errorf("headers %v", m.Header)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []string{"What: A <b>line</b> . and a dot\r\nWhere: web (team-web)", "<td>A &lt;b&gt;line&lt;/b&gt; . and a dot</td>"} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p)
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%v %s", err, text)
		}
	}
	second, err := mail.ReadMessage(strings.NewReader(s.next(t).Data))
	if err != nil {
		t.Fatal(err)
	}
	if root := m.Header.Get("Message-Id"); root == "" || second.Header.Get("References") != root || second.Header.Get("In-Reply-To") != root || second.Header.Get("Message-Id") == root {
		t.Errorf("thread: %v after %s", second.Header, root)
	}
	equal(t, second.Header.Get("X-Grace-Key"), "grace/mail/2")

	fares := func(change func(*Receiver)) (row string, dead int64) {
		t.Helper()
		r := r
		r.Name = fmt.Sprint("mail", e.row(ladderName).Cursor, time.Now().UnixNano())
		change(&r)
		e.use(Settings{Config: Config{Receivers: []Receiver{r}}})
		e.incident("i-2", "web", "opened")
		e.turn(r.Name)
		return e.row(r.Name).Error, e.row(r.Name).Dead
	}
	for _, tt := range []struct {
		name   string
		change func(*Receiver)
		want   string
		final  bool
	}{
		{"no such user", func(r *Receiver) { r.To = []string{"no@example.com"} }, "no such user", true},
		{"no such users", func(r *Receiver) { r.To = []string{"no@a.example.com", "no@b.example.com"} }, "no@b.example.com: 550", true},
		{"no such user and greylisted", func(r *Receiver) { r.To = []string{"no@example.com", "later@example.com"} }, "no such user", false},
		{"greylisted", func(r *Receiver) { r.To = []string{"later@example.com"} }, "greylisted", false},
		{"wrong password", func(r *Receiver) { r.Password = "wrong-one" }, "login", true},
		{"unknown authority", func(r *Receiver) { r.TLS.CA = "" }, "certificate", false},
		{"in the clear", func(r *Receiver) { r.TLS.Mode = "none"; r.Username = "" }, "STARTTLS", true},
		{"nobody there", func(r *Receiver) { r.Server = "127.0.0.1:1" }, "refused", false},
	} {
		text, dead := fares(tt.change)
		if !strings.Contains(text, tt.want) || dead == 1 != tt.final || strings.Contains(text, "wrong-one") || strings.Contains(text, "s3cret") {
			t.Errorf("%s: %q, %d dead", tt.name, text, dead)
		}
	}
}

// TestEmailPartly: one mailbox that is refused or put off keeps no mail from the
// others, who get it once; it is told again to those who may get it later.
func TestEmailPartly(t *testing.T) {
	s := startSMTP(t)
	t.Setenv("SMTP_PASSWORD", "s3cret")
	r := Receiver{
		Name: "mail", Type: "email", Server: s.address, From: "grace@example.com", Username: "grace", Password: "${env:SMTP_PASSWORD}",
		To: []string{"no@example.com", "ada@example.com", "soon@example.com", "bob@example.com"}, TLS: ReceiverTLS{TLS: httpclient.TLS{CA: s.ca}},
	}
	other := newDouble(t, nil)
	use := func(to ...string) Settings {
		r.To = to
		return Settings{Config: Config{Receivers: []Receiver{r, hook("other", other)}, Routes: []Route{{Receivers: []Name{"mail"}}}}}
	}
	e := newEnv(t, use(r.To...))
	e.incident("i-1", "web", "opened")
	e.turn("mail")
	row := e.row("mail")
	if row.FailingSince != nil || row.Delivered != 1 || row.Dead != 0 || !strings.Contains(row.Error, "no@example.com: 550") || !strings.Contains(row.Error, "soon@example.com: 451") {
		t.Fatalf("how it fares: %+v", row)
	}
	first := s.next(t)
	equal(t, first.To, []string{"ada@example.com", "bob@example.com"})
	letters := e.letters()
	if len(letters) != 1 || !letters[0].Retry || letters[0].Error != row.Error || !strings.Contains(e.log.String(), "not delivered to all") {
		t.Errorf("%+v", letters)
	}
	e.incident("i-2", "db", "opened")
	e.turn("mail") // the letter is not due yet
	equal(t, s.next(t).To, []string{"ada@example.com", "bob@example.com"})
	e.now = e.now.Add(time.Second)
	e.turn("mail")
	again := s.next(t)
	equal(t, again.To, []string{"soon@example.com"})
	id := func(l letter) string { return l.Data[strings.Index(l.Data, "Message-ID"):][:60] }
	equal(t, id(again), id(first))
	e.now = e.now.Add(time.Second)
	e.turn("mail")
	equal(t, s.next(t).To, []string{"soon@example.com"})
	letters = e.letters()
	if row = e.row("mail"); len(letters) != 2 || letters[0].Retry || letters[1].Retry || row.Dead != 2 || strings.Contains(letters[0].Error, "soon") {
		t.Errorf("%+v %+v", row, letters)
	}

	e.use(use("eve@example.com", "ada@example.com", "soon@example.com", "bob@example.com"))
	e.retry("mail:1")
	e.turn("mail")
	equal(t, s.next(t).To, []string{"eve@example.com"})
	e.use(use("ada@example.com"))
	e.retry("mail:2")
	e.turn("mail") // all have it
	e.now = e.now.Add(time.Hour)
	e.turn("other")
	equal(t, len(e.letters())+len(other.requests()), 0)
}

// TestEmailPutOff: a mailbox that is never taken is given up, though not as soon
// as it would be if nobody of the receiver had the message.
func TestEmailPutOff(t *testing.T) {
	s := startSMTP(t)
	t.Setenv("SMTP_PASSWORD", "s3cret")
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{{
		Name: "mail", Type: "email", Server: s.address, From: "grace@example.com", Username: "grace", Password: "${env:SMTP_PASSWORD}",
		To: []string{"later@example.com", "ada@example.com"}, TLS: ReceiverTLS{TLS: httpclient.TLS{CA: s.ca}},
	}}}})
	e.incident("i-1", "web", "opened")
	e.turn("mail")
	for tries := 2; tries <= greylisted; tries++ {
		if d, err := e.store.DeadLetter(t.Context(), e.store.Q(), "mail:1"); err != nil || !d.Retry || d.Attempts != tries-1 {
			t.Fatalf("%d attempts: %+v %v", tries, d, err)
		}
		if e.now = e.now.Add(longestWait); tries > suspicious {
			e.incident(fmt.Sprint("i-", tries), "web", "opened") // the others get that
		}
		for range tries {
			e.turn("mail")
		}
	}
	if d, err := e.store.DeadLetter(t.Context(), e.store.Q(), "mail:1"); err != nil || d.Retry || !strings.Contains(d.Error, "later@example.com: 451") {
		t.Errorf("%+v %v", d, err)
	}
}

// A server that never answers costs one attempt's time, not more.
func TestEmailHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := Receiver{Name: "mail", Type: "email", Server: l.Addr().String(), From: "grace@example.com", To: []string{"ada@example.com"}, Timeout: grace.Duration(100 * time.Millisecond)}
	e := newEnv(t, Settings{Config: Config{Receivers: []Receiver{r}}})
	e.incident("i-1", "web", "opened")
	e.turn("mail")
	if row := e.row("mail"); row.Retry == nil || row.Error == "" {
		t.Errorf("%+v", row)
	}
}
