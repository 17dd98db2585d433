package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes. Scripts rely on them: a code keeps its meaning for ever.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnreachable = 5
	exitNotAllowed  = 6
	exitProblems    = 7
	exitAuditBroken = 8
)

func exitCodes() []struct {
	code    int
	meaning string
} {
	return []struct {
		code    int
		meaning string
	}{
		{exitOK, "it worked; of demo: every fault ended as told"},
		{exitFailed, "it failed; of demo: a fault did not end as told"},
		{exitUsage, "the command line, or a value in it, is not valid"},
		{exitNotFound, "there is no such run, service, playbook, token or file"},
		{exitConflict, "somebody or something was first: already decided, expired, ended or changed"},
		{exitUnreachable, "no daemon answered at the URL"},
		{exitNotAllowed, "the token is missing or unknown, or its role does not permit this"},
		{exitProblems, "check or playbooks lint found errors"},
		{exitAuditBroken, "the audit log was changed, or entries are missing"},
	}
}

// failure is an error with its exit code and what to do about it.
type failure struct {
	code    int
	message string
	hint    string
	silent  bool // everything was said on stdout
	cause   error
}

func (f *failure) Error() string { return f.message }

func (f *failure) Unwrap() error { return f.cause }

func usageError(message, hint string) *failure {
	return &failure{code: exitUsage, message: message, hint: hint}
}

func newExitCodes() *cobra.Command {
	var b strings.Builder
	b.WriteString("Exit codes keep their meaning in every release:\n\n")
	for _, c := range exitCodes() {
		_, _ = fmt.Fprintf(&b, "  %d  %s\n", c.code, c.meaning)
	}
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long:  strings.TrimRight(b.String(), "\n"),
	}
}
