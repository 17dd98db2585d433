package clitest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// WriteCommands describes the commands below one, each with its flags.
func WriteCommands(b *bytes.Buffer, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || !c.IsAvailableCommand() || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if !c.HasSubCommands() {
			WriteCommand(b, c)
			continue
		}
		if c.LocalNonPersistentFlags().HasAvailableFlags() { // it does something by itself
			WriteCommand(b, c)
		} else {
			writeHeading(b, c)
			writeOwnFlags(b, c.PersistentFlags())
		}
		WriteCommands(b, c)
	}
}

// WriteCommand describes one command: what it does, how it is called, its own
// flags.
func WriteCommand(b *bytes.Buffer, c *cobra.Command) {
	writeHeading(b, c)
	_, _ = fmt.Fprintf(b, "\n```\n%s\n```\n", c.UseLine())
	if c.Example != "" {
		_, _ = fmt.Fprintf(b, "\n```\n%s\n```\n", strings.TrimSpace(c.Example))
	}
	writeOwnFlags(b, c.LocalNonPersistentFlags())
}

func writeHeading(b *bytes.Buffer, c *cobra.Command) {
	_, _ = fmt.Fprintf(b, "\n### %s\n\n", c.CommandPath())
	text := c.Long
	if text == "" {
		text = c.Short
	}
	WriteText(b, text)
}

// WriteText keeps indented lines as they are, as the terminal shows them.
func WriteText(b *bytes.Buffer, text string) {
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
		WriteFlags(b, flags)
	}
}

// WriteFlags describes flags: the name, what it takes, the default.
func WriteFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
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

// CheckReference compares a document with what the commands make of it, or
// writes it anew.
func CheckReference(t *testing.T, file string, want []byte, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(file, want, 0o644); err != nil { //nolint:gosec // documentation is for everybody
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is out of date (-commands +file); run this test with -update\n%s", file, diff)
	}
}

// CheckTexts makes sure that every command below one says what it is, without a
// full stop: help shows it in a list.
func CheckTexts(t *testing.T, parent *cobra.Command) {
	t.Helper()
	for _, sub := range parent.Commands() {
		if sub.Short == "" {
			t.Errorf("%s has no short text", sub.CommandPath())
		}
		if strings.HasSuffix(sub.Short, ".") {
			t.Errorf("%s: the short text ends in a full stop", sub.CommandPath())
		}
		CheckTexts(t, sub)
	}
}
