package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"grace/internal/clitest"
)

const referenceFile = "../../docs/cli.md"

func testApp() *app {
	return newApp(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}, func(string) (string, bool) { return "", false })
}

func TestReference(t *testing.T) {
	t.Parallel()
	clitest.CheckReference(t, referenceFile, reference(newRoot(testApp())), *update)
}

// reference gives docs/cli.md: every command with its flags, from the commands
// themselves.
func reference(root *cobra.Command) []byte {
	var b bytes.Buffer
	b.WriteString("# The command line\n\nMade from the commands by `go test ./cmd/grace -run TestReference -update`; a test fails when it is out of date.\n\n")
	clitest.WriteText(&b, root.Long)
	b.WriteString("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, c := range exitCodes() {
		_, _ = fmt.Fprintf(&b, "| %d | %s |\n", c.code, c.meaning)
	}
	b.WriteString("\nErrors go to stderr as `grace: what` and `hint: what to do`; with `--json` as one line `{\"error\": {\"message\", \"hint\", \"exit_code\"}}`.\n")
	b.WriteString("\n## Flags of every command\n\n")
	clitest.WriteFlags(&b, root.PersistentFlags())
	b.WriteString("\n## Commands\n")
	clitest.WriteCommands(&b, root)
	b.WriteString("\n### grace completion\n\nPrint the completion script of a shell (bash, zsh, fish or powershell); `grace completion bash --help` says how to load it.\n")
	return b.Bytes()
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	clitest.CheckTexts(t, newRoot(testApp()))
}
