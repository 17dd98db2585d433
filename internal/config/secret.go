package config

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// secretName matches keys and headers that usually hold a credential.
var secretName = regexp.MustCompile(`(?i)(passw|passphrase|secret|token|api[-_]?key|authorization|credential|cookie|bearer|private[-_]?key)`)

const secretHint = "put it into the environment or a file of its own and write ${env:NAME} or ${file:/path}; a secret in this file is copied with it"

// references gives what stands between ${ and } in a text.
func references(text string) []string {
	var out []string
	for {
		_, rest, found := strings.Cut(text, "${")
		if !found {
			return out
		}
		ref, after, closed := strings.Cut(rest, "}")
		if !closed {
			return append(out, rest)
		}
		out = append(out, ref)
		text = after
	}
}

func isSecretReference(ref string) bool {
	return strings.HasPrefix(ref, "env:") && len(ref) > len("env:") ||
		strings.HasPrefix(ref, "file:") && len(ref) > len("file:")
}

// secret judges a value that should be a reference.
func (d *decoder) secret(path, text string) {
	refs := references(text)
	for _, ref := range refs {
		if !isSecretReference(ref) {
			d.add(path, "write ${env:NAME} or ${file:/path}", "${%s} is not a secret reference", shorten(ref))
			return
		}
	}
	if len(refs) == 0 && text != "" {
		d.warn(path, secretHint, "the secret itself stands in the file")
	}
}

// secretsIn looks through headers and environments for credentials that were
// pasted in.
func (s spot) secretsIn(values map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if secretName.MatchString(name) && values[name] != "" && len(references(values[name])) == 0 {
			s.key(name).warn(secretHint, "the secret itself seems to stand in the file")
		}
	}
}

// secretsInSettings does so in the settings of an action, however nested.
func (s spot) secretsInSettings(name string, v any) {
	switch v := v.(type) {
	case string:
		if secretName.MatchString(name) && v != "" && len(references(v)) == 0 {
			s.warn(secretHint, "the secret itself seems to stand in the file")
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			s.key(k).secretsInSettings(k, v[k])
		}
	case []any:
		for i, x := range v {
			s.item(i).secretsInSettings(name, x)
		}
	}
}

// secretInURL warns of a password in an address.
func (s spot) secretInURL(text string) {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return
	}
	if password, ok := u.User.Password(); ok && len(references(password)) == 0 {
		s.warn(secretHint, "the address holds a password")
	}
}
