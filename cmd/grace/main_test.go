package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the golden parts of scripts and docs/cli.md anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"grace": func() { os.Exit(mainCode()) },
	})
}

// TestScripts runs the real command against files that play the API: the
// answer to GET /api/runs is the script's file api/GET/api/runs, with the
// status in api/GET/api/runs.status if that is not 200. What was asked is
// appended to requests.log.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Cmds:                daemonCommands(t),
		Setup: func(env *testscript.Env) error {
			s := httptest.NewServer(&fakeAPI{dir: env.WorkDir})
			env.Defer(s.Close)
			env.Setenv("GRACE_URL", s.URL)
			env.Setenv("GRACE_TOKEN", "grace_script")
			env.Setenv("TZ", "UTC")
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
	})
}

// fakeAPI answers from files.
type fakeAPI struct {
	dir string
	mu  sync.Mutex
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	f.record(r, body)
	file := filepath.Join(f.dir, "api", r.Method, filepath.FromSlash(strings.TrimSuffix(r.URL.Path, "/")))
	data, err := os.ReadFile(file + ".json")
	if err != nil {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"status":404,"title":"Not Found","detail":"%s: not found"}`, r.URL.Path)
		return
	}
	status := http.StatusOK
	if text, err := os.ReadFile(file + ".status"); err == nil {
		status, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func (f *fakeAPI) record(r *http.Request, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(f.dir, "requests.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer func() { _ = log.Close() }()
	query := ""
	if r.URL.RawQuery != "" {
		query = "?" + r.URL.RawQuery
	}
	_, _ = fmt.Fprintf(log, "%s %s%s %s %s\n", r.Method, r.URL.Path, query, r.Header.Get("Authorization"), body)
}
