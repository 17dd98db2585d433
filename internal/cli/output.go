package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"grace"
)

// Output is where the commands of one program write, and how.
type Output struct {
	Out, Err io.Writer // what was found; problems and hints
	Colour   bool      // of Out
	JSON     bool      // print answers and failures as JSON
}

// NewOutput makes both streams fit for a terminal, and asks the environment
// whether colour is wanted.
func NewOutput(out, err io.Writer, env func(string) (string, bool)) *Output {
	return &Output{Out: &shown{w: out}, Err: &shown{w: err}, Colour: wantsColour(out, env)}
}

// wantsColour follows https://no-color.org: colour only on a terminal, and
// never with a NO_COLOR that is not empty.
func wantsColour(w io.Writer, env func(string) (string, bool)) bool {
	if v, ok := env("NO_COLOR"); ok && v != "" {
		return false
	}
	if v, ok := env("TERM"); ok && v == "dumb" {
		return false
	}
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// Execute runs one command line, writes what went wrong to stderr, and gives
// the exit code.
func (o *Output) Execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SilenceUsage, root.SilenceErrors = true, true // report says it, with a hint
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return UsageError(err.Error(), "see: "+cmd.CommandPath()+" --help")
	})
	root.SetArgs(args)
	root.SetOut(o.Out)
	root.SetErr(o.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	f := asFailure(err, root.Name())
	o.report(f, root.Name())
	return f.Code
}

// report writes a failure to stderr. A silent one has said everything already.
func (o *Output) report(f *Failure, program string) {
	if f.Silent {
		return
	}
	if o.JSON {
		data, err := json.Marshal(map[string]any{"error": map[string]any{
			"message": f.Message, "hint": f.Hint, "exit_code": f.Code,
		}})
		if err == nil {
			_, _ = fmt.Fprintln(o.Err, string(data))
			return
		}
	}
	_, _ = fmt.Fprintf(o.Err, "%s: %s\n", program, f.Message)
	if f.Hint != "" {
		_, _ = fmt.Fprintf(o.Err, "  hint: %s\n", f.Hint)
	}
}

// Show prints an answer: raw with --json, else by human.
func (o *Output) Show(raw json.RawMessage, human func(w io.Writer)) error {
	if o.JSON {
		return o.ShowJSON(raw)
	}
	var buf bytes.Buffer
	human(&buf)
	if _, err := io.WriteString(o.Out, forTerminal(buf.String())); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// ShowJSON prints a value as indented JSON.
func (o *Output) ShowJSON(v any) error {
	enc := json.NewEncoder(o.Out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// own are the escape sequences that Tint writes.
const own = "\x1b["

// forTerminal lets nothing through that a terminal would obey, but for line ends
// and our own colours: names and messages come from outside.
func forTerminal(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, ended := strings.CutSuffix(line, "\n")
		for rest := line; ; {
			before, after, found := strings.Cut(rest, own)
			b.WriteString(grace.Printable(before))
			if !found {
				break
			}
			if code, next, closed := strings.Cut(after, "m"); closed && (code == "0" || code == "31" || code == "32" || code == "33") {
				b.WriteString(own + code + "m")
				rest = next
				continue
			}
			b.WriteString(grace.Printable(own))
			rest = after
		}
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
