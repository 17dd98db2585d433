package grace

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
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
		data, err := readSecret(path)
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

// maxSecret bounds a secret in bytes.
const maxSecret = 64 << 10

// readSecret reads a file: not a device, which may have no end, nor a FIFO, which
// waits for whoever writes to it.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("it is not a file (%s)", info.Mode().Type())
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("it has %d bytes; a secret may have %d", info.Size(), maxSecret)
	}
	return os.ReadFile(path)
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
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), (&url.URL{Path: secret}).EscapedPath(), quoted[1 : len(quoted)-1]}
	if len(secret) >= shortestEncoded {
		forms = append(forms, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))))
		forms = append(forms, base64Forms(secret)...)
	}
	if asJSON, err := json.Marshal(secret); err == nil {
		forms = append(forms, string(asJSON[1:len(asJSON)-1]))
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// shortestEncoded is the length from which encoded forms are looked for: those
// of a shorter secret would be found everywhere.
const shortestEncoded = 6

// base64Forms are the parts of a base64 text that a secret within what was
// encoded gives for sure: behind user: of a Basic authorization it begins at one
// of three places.
func base64Forms(secret string) []string {
	var forms []string
	for skip := range 3 {
		padded := append(make([]byte, skip), secret...)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(padded)
			// The first characters hold bits of what stands before, the last ones of
			// what follows.
			begin, end := (skip*8+5)/6, len(padded)*8/6
			forms = append(forms, text[begin:end])
		}
	}
	return forms
}
