package main

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"grace/internal/clitest"
)

var update = flag.Bool("update", false, "write the golden parts of scripts and docs/demo.md anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"grace-demo": func() { os.Exit(mainCode()) },
	})
}

// TestScripts runs the real command.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
	})
}

func testApp() *app {
	return newApp(&bytes.Buffer{}, &bytes.Buffer{}, func(string) (string, bool) { return "", false })
}

func TestReference(t *testing.T) {
	t.Parallel()
	clitest.CheckReference(t, "../../docs/demo.md", reference(), *update)
}

// reference gives docs/demo.md: the commands with their flags, from the
// commands themselves.
func reference() []byte {
	root := newRoot(testApp())
	var b bytes.Buffer
	b.WriteString("# The demo and the simulation\n\nMade from the commands by `go test ./cmd/grace-demo -run TestReference -update`; a test fails when it is out of date.\n\n")
	b.WriteString("What shows GRACE and what tries it is a program of its own, `grace-demo`: where GRACE runs, none of it is needed. `make build` builds both, `make run` plays the demo. Exit codes are [those of grace](cli.md#exit-codes).\n")
	b.WriteString("\n## Flags of every command\n\n")
	clitest.WriteFlags(&b, root.PersistentFlags())
	b.WriteString("\n## Commands\n")
	clitest.WriteCommand(&b, root)
	clitest.WriteCommands(&b, root)
	return b.Bytes()
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	clitest.CheckTexts(t, newRoot(testApp()))
}
