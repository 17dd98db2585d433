package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"grace"
)

// email sends one mail a message, in plain text with the same in HTML.
type email struct {
	cfg  Receiver
	tls  *tls.Config
	from *mail.Address
	to   []*mail.Address
	now  func() time.Time
}

func newEmail(r Receiver) (*email, error) {
	e := &email{cfg: r, now: time.Now}
	var err error
	if e.tls, err = r.TLS.Config(); err != nil {
		return nil, grace.Under("tls", err)
	}
	host, _, err := net.SplitHostPort(r.Server)
	if err != nil {
		return nil, grace.Field("server", "%q is not a host with a port", r.Server)
	}
	e.tls.ServerName = cmp.Or(e.tls.ServerName, host)
	if e.from, err = mail.ParseAddress(r.From); err != nil {
		return nil, grace.Field("from", "%q is not a mail address", r.From)
	}
	for i, text := range r.To {
		to, err := mail.ParseAddress(text)
		if err != nil {
			return nil, grace.Field(fmt.Sprintf("to[%d]", i), "%q is not a mail address", text)
		}
		e.to = append(e.to, to)
	}
	return e, nil
}

func (e *email) send(ctx context.Context, m *Message, t Thread) (Thread, error) {
	var s secrets
	user, password := s.expand("username", e.cfg.Username), s.expand("password", e.cfg.Password)
	if s.err != nil {
		return Thread{}, s.err
	}
	id := e.messageID(m.Key)
	body, err := e.compose(m, id, t.Root)
	if err != nil {
		return Thread{}, &refusal{err}
	}
	if t.Root == "" {
		t.Root = id
	}
	if e.allHave(m) { // who did not is written to no more
		return Thread{Root: t.Root}, nil
	}
	err = s.hide(judgeSMTP(e.deliver(ctx, user, password, m.had, body)))
	if _, some := errors.AsType[*partly](err); err != nil && !some {
		return Thread{}, err
	}
	return Thread{Root: t.Root}, err
}

// allHave tells whether a mail that some did not get has nobody left to go to.
func (e *email) allHave(m *Message) bool {
	return len(m.had) > 0 && !slices.ContainsFunc(e.to, func(to *mail.Address) bool { return !slices.Contains(m.had, to.Address) })
}

// judgeSMTP takes a 5xx for final; all else passes.
func judgeSMTP(err error) error {
	if answer, ok := errors.AsType[*textproto.Error](err); ok && answer.Code/100 == 5 {
		return &refusal{err}
	}
	return err
}

// deliver is one SMTP session, for those who do not have the mail.
func (e *email) deliver(ctx context.Context, user, password string, had []string, body []byte) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", e.cfg.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })() // net/smtp knows no context
	if e.cfg.TLS.Mode == "implicit" {
		conn = tls.Client(conn, e.tls)
	}
	c, err := smtp.NewClient(conn, e.tls.ServerName)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	defer c.Close()
	if e.cfg.TLS.Mode == "" || e.cfg.TLS.Mode == "starttls" {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return &refusal{errors.New("the server does not offer STARTTLS; set tls: implicit or none if that is right")}
		}
		if err := c.StartTLS(e.tls); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if user != "" {
		if err := c.Auth(smtp.PlainAuth("", user, password, e.tls.ServerName)); err != nil {
			return fmt.Errorf("login: %w", err)
		}
	}
	if err := c.Mail(e.from.Address); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	left, err := e.recipients(c, had)
	if err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	_ = c.Quit() // the mail is taken
	if left != nil {
		return left
	}
	return nil
}

// recipients names them to the server but for those who have the mail, and gives
// whom it does not take, nil for nobody. It is an error when it takes none.
func (e *email) recipients(c *smtp.Client, had []string) (*partly, error) {
	var refused []string
	left, some := &partly{final: true, had: slices.Clone(had)}, false
	for _, to := range e.to {
		if slices.Contains(had, to.Address) {
			continue
		}
		err := c.Rcpt(to.Address)
		if err == nil {
			left.had, some = append(left.had, to.Address), true
			continue
		}
		err = fmt.Errorf("recipient %s: %w", to.Address, err)
		answer, ok := errors.AsType[*textproto.Error](err)
		if !ok || answer.Code == goingAway {
			return nil, err
		}
		refused = append(refused, err.Error())
		left.final = left.final && answer.Code/100 == 5
	}
	text := strings.Join(refused, "; ")
	switch {
	case len(refused) == 0:
		return nil, nil //nolint:nilnil // all are taken
	case some:
		left.err = errors.New(text + "; the other recipients have it")
		return left, nil
	case left.final:
		return nil, &refusal{errors.New(text)}
	}
	return nil, errors.New(text)
}

// goingAway is an answer about the session, not about what was asked.
const goingAway = 421

// messageID is the same for every attempt, so that a mail that came twice is
// shown once.
func (e *email) messageID(key string) string {
	sum := sha256.Sum256([]byte(key))
	_, host, _ := strings.Cut(e.from.Address, "@")
	return "<grace." + hex.EncodeToString(sum[:12]) + "@" + host + ">"
}

func (e *email) compose(m *Message, id, root string) ([]byte, error) {
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	to := make([]string, len(e.to))
	for i, a := range e.to {
		to[i] = a.String()
	}
	header := [][2]string{
		{"From", e.from.String()},
		{"To", strings.Join(to, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", "[GRACE] "+m.Title)},
		{"Date", e.now().Format(time.RFC1123Z)},
		{"Message-ID", id},
	}
	if root != "" && root != id {
		header = append(header, [2]string{"In-Reply-To", root}, [2]string{"References", root})
	}
	if m.Severity == grace.SeverityCritical && !m.over() {
		header = append(header, [2]string{"X-Priority", "1"})
	}
	header = append(header, [2]string{"Auto-Submitted", "auto-generated"}, [2]string{"X-Grace-Key", m.Key}, [2]string{"MIME-Version", "1.0"},
		[2]string{"Content-Type", "multipart/alternative; boundary=" + parts.Boundary()})
	var head strings.Builder
	for _, h := range header {
		head.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	for _, alternative := range [][2]string{{"text/plain", m.Title + "\n\n" + m.Text() + "\n"}, {"text/html", page(m)}} {
		w, err := parts.CreatePart(textproto.MIMEHeader{
			"Content-Type": {alternative[0] + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return nil, err
		}
		q := quotedprintable.NewWriter(w)
		if _, err := q.Write([]byte(strings.ReplaceAll(alternative[1], "\n", "\r\n"))); err != nil {
			return nil, err
		}
		if err := q.Close(); err != nil {
			return nil, err
		}
	}
	if err := parts.Close(); err != nil {
		return nil, err
	}
	return append([]byte(head.String()+"\r\n"), b.Bytes()...), nil
}

// page is the message in HTML that every mail program shows.
func page(m *Message) string {
	var b strings.Builder
	b.WriteString("<p><strong>" + html.EscapeString(m.Title) + "</strong></p>\n<table cellpadding=\"4\">\n")
	for _, p := range m.parts() {
		b.WriteString("<tr><th align=\"left\" valign=\"top\">" + p.label + "</th><td>" + html.EscapeString(p.text) + "</td></tr>\n")
	}
	b.WriteString("</table>\n")
	if m.Link != "" {
		b.WriteString("<p><a href=\"" + html.EscapeString(m.Link) + "\">Open in GRACE</a></p>\n")
	}
	return b.String()
}
