package grace

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDecodeSettings(t *testing.T) {
	type settings struct {
		URL   Text            `json:"url"`
		Env   map[string]Text `json:"env"`
		Codes []int           `json:"codes"`
		To    struct {
			Port int `json:"port"`
		} `json:"to"`
		Nested map[string]string
	}
	for _, tt := range []struct {
		name string
		with map[string]any
		want string // in the error
	}{
		{"good", map[string]any{"url": "http://x", "env": map[string]any{"N": 3, "B": true, "F": 1.5}, "codes": []any{0, 2}}, ""},
		{"nothing", nil, ""},
		{"unknown key", map[string]any{"ulr": "http://x"}, "ulr: unknown setting"},
		{"wrong kind", map[string]any{"codes": "zero"}, "codes: want a list"},
		{"unknown key below", map[string]any{"to": map[string]any{"url": "http://x"}}, `unknown setting "url"`},
		{"key in another case", map[string]any{"NESTED": 3}, "NESTED: want a mapping"},
		{"wrong kind below", map[string]any{"to": map[string]any{"port": "x"}}, "to.port: want a whole number"},
		{"list for text", map[string]any{"url": []any{"a"}}, "want text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s settings
			err := DecodeSettings(tt.with, &s)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if tt.with != nil && (s.Env["N"] != "3" || s.Env["B"] != "true" || s.Env["F"] != "1.5") {
					t.Errorf("scalars read as %v", s.Env)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestCleanOutput(t *testing.T) {
	if got := CleanOutput("a\x00b\xffc"); got != "a\uFFFDb\uFFFDc" {
		t.Errorf("got %q", got)
	}
}

func TestRedact(t *testing.T) {
	secrets := []string{`a/b "c"`, "abc", "abcdef", ""}
	text := `a/b "c" a%2Fb+%22c%22 a%2Fb%20%22c%22 a/b \"c\" abcdef xabcx`
	want := `[secret] [secret] [secret] [secret] [secret] x[secret]x`
	if got := Redact(text, secrets); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if n := LongestSecret(secrets); n != len("a%2Fb%20%22c%22") {
		t.Errorf("longest %d", n)
	}
}

// TestRedactEncoded: a target that answers with what it was sent gives it in
// other forms too.
func TestRedactEncoded(t *testing.T) {
	const secret = "s3cr/et va+lue"
	basic := func(user string) string { return base64.StdEncoding.EncodeToString([]byte(user + ":" + secret)) }
	for name, text := range map[string]string{
		"hex": hex.EncodeToString([]byte(secret)), "upper hex": strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "URL base64": base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"Basic": basic("a"), "Basic of another length": basic("ab"), "and another": basic("abc"),
		"a path": (&url.URL{Path: "/x/" + secret + "/y"}).EscapedPath(), "a query": url.Values{"a": {secret}}.Encode(),
		"a header behind": base64.StdEncoding.EncodeToString([]byte(secret + "@host")),
	} {
		got := Redact("before "+text+" after", []string{secret})
		if !strings.Contains(got, "[secret]") || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := Redact("nothing here but abcabc", []string{"abc"}); got != "nothing here but [secret][secret]" {
		t.Error(got)
	}
}

// TestSecretFiles: a secret is read from a file, not from a device without an end
// or a pipe that nobody writes to.
func TestSecretFiles(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/zero", fifo} {
		if _, _, err := ExpandSecrets("${file:" + path + "}"); err == nil || !strings.Contains(err.Error(), "not a file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
