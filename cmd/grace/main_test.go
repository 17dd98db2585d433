package main

import (
	"flag"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"grace/internal/clitest"
)

var update = flag.Bool("update", false, "write the golden parts of scripts and docs/cli.md anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"grace": func() { os.Exit(mainCode()) },
	})
}

// TestScripts runs the real command against files that play the API.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Cmds:                daemonCommands(t),
		Setup: func(env *testscript.Env) error {
			s := httptest.NewServer(&clitest.FakeAPI{Dir: env.WorkDir})
			env.Defer(s.Close)
			env.Setenv("GRACE_URL", s.URL)
			env.Setenv("GRACE_TOKEN", "grace_script")
			env.Setenv("TZ", "UTC")
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
	})
}
