package clitest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// FakeAPI answers from files: the answer to GET /api/runs is the file
// api/GET/api/runs.json, with the status in api/GET/api/runs.status if that is
// not 200. What was asked is appended to requests.log.
type FakeAPI struct {
	Dir string // of all the files
	mu  sync.Mutex
}

// ServeHTTP meets http.Handler.
func (f *FakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	f.record(r, body)
	file := filepath.Join(f.Dir, "api", r.Method, filepath.FromSlash(strings.TrimSuffix(r.URL.Path, "/")))
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

func (f *FakeAPI) record(r *http.Request, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(f.Dir, "requests.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
