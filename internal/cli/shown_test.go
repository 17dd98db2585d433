package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestShownToATerminal: what others named reaches no terminal as a command.
func TestShownToATerminal(t *testing.T) {
	for _, attack := range []string{
		"\x1b]52;c;aGk=\x07", "\x1b[2J", "\x1b]0;title\x1b\\", "a\rb", "a\bb", "\x07", "a\u202eb", "a\u2066b", "\u009b31m", "\x9b31m", "a\u200bb", "\x00",
	} {
		var out bytes.Buffer
		if _, err := (&shown{w: &out}).Write([]byte("name " + attack + " end\n")); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(out.String(), "\x1b\x07\r\b\x00\u202e\u2066\u009b\u200b") || bytes.ContainsRune(out.Bytes(), 0xfffd) || bytes.IndexByte(out.Bytes(), 0x9b) >= 0 && !strings.Contains(out.String(), `\u009b`) {
			t.Errorf("%q reached the terminal as %q", attack, out.String())
		}
		if !strings.HasPrefix(out.String(), "name ") || !strings.HasSuffix(out.String(), " end\n") {
			t.Errorf("%q: %q", attack, out.String())
		}
	}
}

// TestShownAsItIs: colours of grace's own, other scripts, and a character that
// is written in two parts.
func TestShownAsItIs(t *testing.T) {
	var out bytes.Buffer
	s := &shown{w: &out}
	text := "\x1b[31mcritical\x1b[0m\tüber 日本 👩\u200d💻\n"
	if _, err := s.Write([]byte(text)); err != nil || out.String() != text {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	for _, b := range []byte("日本\n") {
		if _, err := s.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "日本\n" {
		t.Errorf("%q", out.String())
	}
}

// TestShownJSON: JSON says the same, escaped or not.
func TestShownJSON(t *testing.T) {
	var out bytes.Buffer
	if _, err := (&shown{w: &out}).Write([]byte(`"a` + "\u202e" + `b"`)); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got != "a\u202eb" {
		t.Errorf("%q, %v", got, err)
	}
}
