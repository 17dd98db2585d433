package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes. Scripts rely on them: a code keeps its meaning for ever.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitConflict    = 4
	ExitUnreachable = 5
	ExitNotAllowed  = 6
	ExitProblems    = 7
	ExitAuditBroken = 8
)

// Failure is an error with its exit code and what to do about it.
type Failure struct {
	Code    int
	Message string
	Hint    string
	Silent  bool // everything was said on stdout
	Cause   error
}

// Error is the message alone: the hint has a line of its own.
func (f *Failure) Error() string { return f.Message }

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Cause }

// UsageError says that the command line, or a value in it, is not valid.
func UsageError(message, hint string) *Failure {
	return &Failure{Code: ExitUsage, Message: message, Hint: hint}
}

// IsCode tells whether err would end the program with an exit code.
func IsCode(err error, code int) bool {
	f, ok := errors.AsType[*Failure](err)
	return ok && f.Code == code
}

// ExactArgs wants the arguments that the command's use line names.
func ExactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(args) < len(names) {
			return UsageError("missing "+names[len(args)], "usage: "+cmd.UseLine())
		}
		return UsageError(fmt.Sprintf("unexpected argument %q", args[len(names)]), "usage: "+cmd.UseLine())
	}
}

// asFailure gives every error an exit code. What cobra finds wrong has no type
// of its own, but it always is the command line.
func asFailure(err error, program string) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	text := err.Error()
	for _, start := range []string{"unknown command", "unknown flag", "unknown shorthand", "required flag", "invalid argument", "accepts ", "requires ", "if any flags in the group", "at least one of the flags"} {
		if strings.HasPrefix(text, start) {
			return UsageError(text, "see: "+program+" --help")
		}
	}
	return &Failure{Code: ExitFailed, Message: text}
}
