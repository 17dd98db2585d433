package grace

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ExpandSecrets replaces every ${env:NAME} and ${file:PATH} in text by the
// environment variable or by the file's content without its final newline.
// secrets holds the values that were put in, for Redact. A missing variable or
// file, or an empty one, is an error: acting with an empty credential is never
// what was meant.
//
// Actions call it at the last moment, so that a secret is never in a run's
// record, in argv or in a log.
func ExpandSecrets(text string) (expanded string, secrets []string, err error) {
	var out strings.Builder
	for rest := text; ; {
		before, ref, tail, found := cutReference(rest)
		out.WriteString(before)
		if !found {
			return out.String(), secrets, nil
		}
		rest = tail
		value, isSecret, err := lookupSecret(ref)
		if err != nil {
			return "", nil, err
		}
		if !isSecret {
			out.WriteString("${" + ref + "}")
			continue
		}
		secrets = append(secrets, value)
		out.WriteString(value)
	}
}

func cutReference(s string) (before, ref, after string, found bool) {
	i := strings.Index(s, "${")
	if i < 0 {
		return s, "", "", false
	}
	j := strings.IndexByte(s[i:], '}')
	if j < 0 {
		return s, "", "", false
	}
	return s[:i], s[i+2 : i+j], s[i+j+1:], true
}

func lookupSecret(ref string) (value string, isSecret bool, err error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		v, ok := os.LookupEnv(name)
		if !ok || v == "" {
			return "", true, fmt.Errorf("secret ${env:%s}: the variable is not set or empty; set it in GRACE's environment", name)
		}
		return v, true, nil
	}
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", true, fmt.Errorf("secret ${file:%s}: %w", path, err)
		}
		v := strings.TrimRight(string(data), "\r\n")
		if v == "" {
			return "", true, fmt.Errorf("secret ${file:%s}: the file is empty", path)
		}
		return v, true, nil
	}
	return "", false, nil
}

// Redact replaces every occurrence of the secrets in text by "[secret]", also
// where a URL, a quoted error or JSON shows them escaped.
func Redact(text string, secrets []string) string {
	var all []string
	for _, s := range secrets {
		all = append(all, secretForms(s)...)
	}
	// The longest first: a secret may be part of another.
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, s := range all {
		text = strings.ReplaceAll(text, s, "[secret]")
	}
	return text
}

// LongestSecret is the length in bytes of the longest text that Redact looks
// for. Who keeps a part of a text redacts it with that much more at the cut, so
// that no half of a secret stays.
func LongestSecret(secrets []string) int {
	n := 0
	for _, s := range secrets {
		for _, f := range secretForms(s) {
			n = max(n, len(f))
		}
	}
	return n
}

func secretForms(secret string) []string {
	if secret == "" {
		return nil
	}
	quoted := strconv.Quote(secret)
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), quoted[1 : len(quoted)-1]}
	if asJSON, err := json.Marshal(secret); err == nil {
		forms = append(forms, string(asJSON[1:len(asJSON)-1]))
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}
