package grace

import (
	"strings"
	"testing"
)

func TestDecodeSettings(t *testing.T) {
	type settings struct {
		URL   Text            `json:"url"`
		Env   map[string]Text `json:"env"`
		Codes []int           `json:"codes"`
	}
	for _, tt := range []struct {
		name string
		with map[string]any
		want string // in the error
	}{
		{"good", map[string]any{"url": "http://x", "env": map[string]any{"N": 3, "B": true, "F": 1.5}, "codes": []any{0, 2}}, ""},
		{"nothing", nil, ""},
		{"unknown key", map[string]any{"ulr": "http://x"}, `unknown setting "ulr"`},
		{"wrong kind", map[string]any{"codes": "zero"}, "setting codes: want"},
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
