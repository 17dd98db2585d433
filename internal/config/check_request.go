package config

import (
	"slices"
	"strings"

	"grace/internal/httpclient"
)

// methods are those that the IANA registers for HTTP, and PURGE, which caches
// take.
func methods() []string {
	return strings.Fields(`GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY PURGE
		ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE
		MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL`)
}

// checkMethod warns of an HTTP method that is none. It is no more than a
// warning: a server may take methods of its own.
func checkMethod(at spot, method string) {
	if !httpclient.Token(method) || strings.Contains(method, "${") || slices.Contains(methods(), method) || at.failed() {
		return
	}
	hint := "usual are GET, HEAD, POST, PUT, PATCH and DELETE."
	if k := nearest(method, methods()); k != "" {
		hint = "did you mean " + k + "?"
	}
	at.warn(hint+" Leave it so if the server has a method of that name", "%s is not a known HTTP method", quote(method))
}

// checkLogin looks at a name and a password, which go together.
func checkLogin(at spot, username, password string) {
	switch {
	case username != "" && password == "" && !at.key("password").failed():
		at.key("username").warn("give password as well; leave it so if the server takes an empty one", "there is no password for it")
	case username == "" && password != "" && !at.key("username").failed():
		at.key("password").add("give username as well, or remove the password", "there is no username for it")
	}
}

// checkBody refuses conditions on an answer that none can meet.
func (s sensor) checkBody(at spot) {
	if s.NotContains != "" && strings.Contains(s.Contains, s.NotContains) {
		at.key("not_contains").add("change one of the two", "contains demands what this forbids: no answer can pass")
	}
}
