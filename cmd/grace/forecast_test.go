package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace/internal/cli"
	"grace/internal/forecast"
)

// trainCLI runs grace forecast train.
func trainCLI(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	a := testApp()
	var out, errs bytes.Buffer
	a.Out, a.Err = &out, &errs
	return run(t.Context(), a, append([]string{"forecast", "train"}, args...)), errs.String()
}

func writeHistory(t *testing.T, dir string, days int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("timestamp,value\n")
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for i := range days * 24 * 4 {
		at := start.Add(time.Duration(i) * 15 * time.Minute)
		fmt.Fprintf(&b, "%s,%g\n", at.Format(time.DateTime), 100+30*math.Sin(float64(i)/96*2*math.Pi))
	}
	file := filepath.Join(dir, fmt.Sprintf("%d.csv", days))
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func loadNet(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := new(forecast.LSTM).UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestForecastTrain(t *testing.T) {
	dir := t.TempDir()
	history, first, second := writeHistory(t, dir, 16), filepath.Join(dir, "1.bin"), filepath.Join(dir, "2.bin")
	for _, out := range []string{first, second} {
		if code, text := trainCLI(t, "--out", out, "--rounds", "1", history); code != 0 {
			t.Fatalf("exit %d: %s", code, text)
		}
	}
	if !bytes.Equal(loadNet(t, first), loadNet(t, second)) {
		t.Error("the same series and seed gave another net")
	}
}

func TestForecastTrainFromPrometheus(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var start, end, step float64
		for key, into := range map[string]*float64{"start": &start, "end": &end, "step": &step} {
			if _, err := fmt.Sscan(r.FormValue(key), into); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
		var values []any
		for at := start; at <= end; at += step {
			values = append(values, []any{at, fmt.Sprint(10 + math.Sin(at/86400*2*math.Pi))})
		}
		result := []any{map[string]any{"metric": map[string]string{"job": "web"}, "values": values}}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": result}})
	}))
	defer s.Close()
	out := filepath.Join(t.TempDir(), "net.bin")
	if code, text := trainCLI(t, "--out", out, "--rounds", "1", "--prometheus", s.URL, "--selector", `{job="web"}`, "--since", "400h"); code != 0 {
		t.Fatalf("exit %d: %s", code, text)
	}
	loadNet(t, out)
}

func TestForecastTrainRefuses(t *testing.T) {
	dir := t.TempDir()
	words := filepath.Join(dir, "words.csv")
	if err := os.WriteFile(words, []byte("a,b\nc,d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "x.bin")
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{words}, cli.ExitUsage, "--out is missing"},
		{[]string{"--out", out}, cli.ExitUsage, "nothing to learn from"},
		{[]string{"--out", out, "--prometheus", "http://127.0.0.1:1"}, cli.ExitUsage, "go together"},
		{[]string{"--out", out, words}, cli.ExitFailed, "no line of it holds a time and a value"},
		{[]string{"--out", out, filepath.Join(dir, "none.csv")}, cli.ExitFailed, "no such file"},
		{[]string{"--out", out, writeHistory(t, dir, 3)}, cli.ExitFailed, "eleven days"},
	} {
		if code, text := trainCLI(t, test.args...); code != test.code || !strings.Contains(text, test.want) {
			t.Errorf("%v: exit %d, %q; want %d, %q", test.args, code, text, test.code, test.want)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written all the same")
	}
}
