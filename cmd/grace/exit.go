package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"grace/internal/cli"
)

// exitCodes says what the codes of package cli mean here.
func exitCodes() []struct {
	code    int
	meaning string
} {
	return []struct {
		code    int
		meaning string
	}{
		{cli.ExitOK, "it worked"},
		{cli.ExitFailed, "it failed"},
		{cli.ExitUsage, "the command line, or a value in it, is not valid"},
		{cli.ExitNotFound, "there is no such run, service, playbook, token or file"},
		{cli.ExitConflict, "somebody or something was first: already decided, expired, ended or changed"},
		{cli.ExitUnreachable, "no daemon answered at the URL"},
		{cli.ExitNotAllowed, "the token is missing or unknown, or its role does not permit this"},
		{cli.ExitProblems, "check, reload or playbooks lint found errors"},
		{cli.ExitAuditBroken, "the audit log was changed, or entries are missing"},
	}
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
