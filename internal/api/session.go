package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"grace/console"
	"grace/internal/store"
)

// A session is a cookie that names a token by its hash, with an id, an end and a
// signature. The hash alone opens nothing; every request looks the token up
// again, so revoking it ends its sessions, on every replica at once. So does
// signing out end the session: its id is then on record as ended.
//
// The cookie has no Path: it then belongs to the folder of the login page,
// whatever base path a proxy puts in front, and never goes to /api.
const sessionCookie = "grace_session"

func (s *server) sign(purpose, text string) string {
	mac := hmac.New(sha256.New, s.cfg.SessionKey)
	mac.Write([]byte(purpose + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *server) newSession(hash string) string {
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails
	text := hash + "." + hex.EncodeToString(id[:]) + "." + strconv.FormatInt(s.now().Add(s.cfg.SessionTTL).Unix(), 10)
	return text + "." + s.sign("session", text)
}

// session is what a genuine cookie says.
type session struct {
	hash, id string
	until    time.Time
}

// session reads a cookie; ok is false when it is not ours or has ended.
func (s *server) session(cookie string) (out session, ok bool) {
	i := strings.LastIndexByte(cookie, '.')
	if i < 0 || !hmac.Equal([]byte(cookie[i+1:]), []byte(s.sign("session", cookie[:i]))) {
		return session{}, false
	}
	parts := strings.Split(cookie[:i], ".")
	if len(parts) != 3 {
		return session{}, false
	}
	end, err := strconv.ParseInt(parts[2], 10, 64)
	out = session{hash: parts[0], id: parts[1], until: time.Unix(end, 0)}
	return out, err == nil && s.now().Before(out.until)
}

// csrf is the token of every form of a session.
func (s *server) csrf(cookie string) string { return s.sign("csrf", cookie) }

func (s *server) setCookie(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: value, MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		// Behind a proxy that ends TLS only this header tells. Whoever forges
		// it only keeps their own cookie from being sent in the clear.
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}

// visit is one request of a page by somebody who is signed in.
type visit struct {
	w    http.ResponseWriter
	r    *http.Request
	csrf string
	root string

	session session
}

// root leads from a page's path back to the base path.
func rootOf(path string) string {
	if n := strings.Count(path, "/") - 1; n > 0 {
		return strings.Repeat("../", n)
	}
	return "./"
}

// page wraps a page's handler with the session. A GET without one goes to the
// login; so does a form, whose text is lost then, but nothing was done.
func (s *server) page(need role, h func(visit)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		pageHeaders(w.Header())
		var value string
		if c, err := r.Cookie(sessionCookie); err == nil {
			value = c.Value
		}
		current, ok := s.session(value)
		if !ok {
			s.toLogin(w, r)
			return
		}
		v := visit{w: w, r: r, csrf: s.csrf(value), root: rootOf(r.URL.Path), session: current}
		ended, err := s.store.SessionEnded(r.Context(), s.store.Q(), current.id)
		if err != nil {
			s.notice(v, s.answer(r.Context(), "the session", stored(err)))
			return
		}
		if ended {
			s.toLogin(w, r)
			return
		}
		if p := s.admitHash(r.Context(), current.hash, need); p != nil {
			if p.Status == http.StatusUnauthorized {
				s.toLogin(w, r)
				return
			}
			s.notice(v, p)
			return
		}
		if r.Method == http.MethodPost && !hmac.Equal([]byte(r.PostFormValue("csrf")), []byte(v.csrf)) {
			s.notice(v, problem(http.StatusForbidden, "the form does not belong to this session, or it was too large").hint("open the page again and repeat"))
			return
		}
		h(v)
	}
}

func pageHeaders(h http.Header) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
}

func (s *server) toLogin(w http.ResponseWriter, r *http.Request) {
	root := rootOf(r.URL.Path)
	next := strings.TrimPrefix(r.URL.Path, "/")
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Method == http.MethodGet {
		// Followed from a mail or a chat, the strict cookie is not sent. One
		// hop from our own page, and it is.
		s.draw(w, http.StatusOK, console.Notice{
			Frame: console.Frame{Title: "Opening", Root: root, Now: s.now()}, Heading: "Opening",
			Detail: "One moment.", Hop: true, Back: console.Link{Text: "Go on", Path: next},
		})
		return
	}
	w.Header().Set("Location", root+"lite/login?next="+url.QueryEscape(next))
	w.WriteHeader(http.StatusSeeOther)
}

// safeNext lets a login lead on to a page of ours only.
func safeNext(next string) string {
	rest, isPage := strings.CutPrefix(next, "lite")
	plain := strings.Trim(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-.~") == ""
	if !isPage || !plain || (rest != "" && rest[0] != '/') || strings.Contains(rest, "..") || strings.Contains(rest, "//") {
		return "lite"
	}
	return next
}

func (s *server) loginPage(w http.ResponseWriter, r *http.Request) {
	pageHeaders(w.Header())
	s.draw(w, http.StatusOK, s.loginView(r, safeNext(r.URL.Query().Get("next")), ""))
}

func (s *server) loginView(r *http.Request, next, complaint string) console.Login {
	return console.Login{
		Frame: console.Frame{Title: "Sign in", Root: rootOf(r.URL.Path), Now: s.now(), Request: callerOf(r.Context()).Request},
		Next:  next, Error: complaint,
	}
}

func (s *server) login(w http.ResponseWriter, r *http.Request) {
	pageHeaders(w.Header())
	next := safeNext(r.PostFormValue("next"))
	secret := strings.TrimSpace(r.PostFormValue("token"))
	if p := s.admit(r.Context(), "Bearer "+secret, roleViewer); p != nil {
		s.draw(w, p.Status, s.loginView(r, next, sentence(p)))
		return
	}
	s.setCookie(w, r, s.newSession(store.HashToken(secret)), int(s.cfg.SessionTTL/time.Second))
	w.Header().Set("Location", rootOf(r.URL.Path)+next)
	w.WriteHeader(http.StatusSeeOther)
}

func (s *server) logout(v visit) {
	if err := s.store.EndSession(v.r.Context(), callerOf(v.r.Context()).actor(), v.session.id, v.session.until); err != nil {
		s.notice(v, s.answer(v.r.Context(), "signing out", stored(err)))
		return
	}
	s.setCookie(v.w, v.r, "", -1)
	v.w.Header().Set("Location", v.root+"lite/login")
	v.w.WriteHeader(http.StatusSeeOther)
}

// draw sends a page. A page that cannot be drawn is a fault of ours.
func (s *server) draw(w http.ResponseWriter, status int, page console.Page) {
	var buf strings.Builder
	if err := s.pages.Write(&buf, page); err != nil {
		panic(err) // answered and logged by rescue
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(buf.String())) // the peer is gone if this fails
}

// notice shows a problem as a page.
func (s *server) notice(v visit, p *Problem) {
	who := callerOf(v.r.Context())
	maps.Copy(v.w.Header(), p.GetHeaders())
	s.draw(v.w, p.Status, console.Notice{
		Frame: console.Frame{
			Title: p.Title, Root: v.root, Now: s.now(), User: who.Token, Role: who.Role.String(), CSRF: v.csrf, Request: who.Request,
		},
		Heading: p.Title, Detail: sentence(p), Back: console.Link{Text: "Back to the overview", Path: "lite"},
	})
}

// sentence joins a problem's detail and hint for a reader.
func sentence(p *Problem) string {
	if p.Hint == "" {
		return p.Detail + "."
	}
	return p.Detail + "; " + p.Hint + "."
}
