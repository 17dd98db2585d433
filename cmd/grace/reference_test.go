package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// reference gives docs/cli.md: every command with its flags, from the commands
// themselves.
func reference(root *cobra.Command) []byte {
	var b bytes.Buffer
	b.WriteString("# The command line\n\nMade from the commands by `go test ./cmd/grace -run TestReference -update`; a test fails when it is out of date.\n\n")
	writeText(&b, root.Long)
	b.WriteString("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, c := range exitCodes() {
		_, _ = fmt.Fprintf(&b, "| %d | %s |\n", c.code, c.meaning)
	}
	b.WriteString("\nErrors go to stderr as `grace: what` and `hint: what to do`; with `--json` as one line `{\"error\": {\"message\", \"hint\", \"exit_code\"}}`.\n")
	b.WriteString("\n## Flags of every command\n\n")
	writeFlags(&b, root.PersistentFlags())
	b.WriteString("\n## Commands\n")
	writeCommands(&b, root)
	b.WriteString("\n### grace completion\n\nPrint the completion script of a shell (bash, zsh, fish or powershell); `grace completion bash --help` says how to load it.\n")
	return b.Bytes()
}

func writeCommands(b *bytes.Buffer, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || !c.IsAvailableCommand() || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		_, _ = fmt.Fprintf(b, "\n### %s\n\n", c.CommandPath())
		text := c.Long
		if text == "" {
			text = c.Short
		}
		writeText(b, text)
		if c.HasSubCommands() {
			writeOwnFlags(b, c.PersistentFlags())
			writeCommands(b, c)
			continue
		}
		_, _ = fmt.Fprintf(b, "\n```\n%s\n```\n", c.UseLine())
		if c.Example != "" {
			_, _ = fmt.Fprintf(b, "\n```\n%s\n```\n", strings.TrimSpace(c.Example))
		}
		writeOwnFlags(b, c.LocalNonPersistentFlags())
	}
}

// writeText keeps indented lines as they are, as the terminal shows them.
func writeText(b *bytes.Buffer, text string) {
	quoting, blank := false, ""
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		if strings.TrimSpace(line) == "" {
			blank += "\n"
			continue
		}
		indented := strings.HasPrefix(line, "  ")
		switch {
		case indented && !quoting:
			line = blank + "```\n" + line
		case !indented && quoting:
			line = "```\n" + blank + line
		default:
			line = blank + line
		}
		quoting, blank = indented, ""
		b.WriteString(line)
	}
	if quoting {
		b.WriteString("```\n")
	}
}

func writeOwnFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		b.WriteString("\n")
		writeFlags(b, flags)
	}
}

func writeFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	b.WriteString("| flag | meaning |\n|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		if name != "" {
			name = " " + name
		}
		zero := f.DefValue == "" || f.DefValue == "0" || f.DefValue == "0s" || f.DefValue == "false" || f.DefValue == "[]"
		if !zero {
			usage += " (default " + f.DefValue + ")"
		}
		_, _ = fmt.Fprintf(b, "| `--%s%s` | %s |\n", f.Name, name, strings.ReplaceAll(usage, "|", "\\|"))
	})
}
