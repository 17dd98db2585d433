package promql

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"grace"
)

// row is one series of an answer, or one element.
type row struct {
	labels map[string]string
	points []point
}

// point is a pair [seconds, "value"].
type point struct {
	at    int64 // ms since 1970
	value float64
}

// maxSeconds is the end of the year 9999: beyond it is no time.
const maxSeconds = 253402300799

// UnmarshalJSON reads the pair.
func (p *point) UnmarshalJSON(data []byte) error {
	inner, opened := bytes.CutPrefix(bytes.TrimSpace(data), []byte("["))
	inner, closed := bytes.CutSuffix(inner, []byte("]"))
	at, text, pair := bytes.Cut(inner, []byte(","))
	if !opened || !closed || !pair {
		return fmt.Errorf("%.40q is no pair of a time and a value", data)
	}
	seconds, err := strconv.ParseFloat(string(bytes.TrimSpace(at)), 64)
	if err != nil || !(math.Abs(seconds) <= maxSeconds) { // so written that NaN fails too
		return fmt.Errorf("%.40q is no time", at)
	}
	text = bytes.TrimSpace(text)
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return fmt.Errorf("%.40q is no value", text)
	}
	value, err := strconv.ParseFloat(string(text[1:len(text)-1]), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%.40q is no value", text)
	}
	p.at, p.value = int64(math.Round(seconds*1000)), value
	return nil
}

// answer is what /api/v1/query and /api/v1/query_range give.
type answer struct {
	Status string `json:"status"`
	Data   struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	Infos     []string `json:"infos"`
	IsPartial bool     `json:"isPartial"` // VictoriaMetrics: some storage node did not answer
}

// notes collects what was not as it should be with one answer.
type notes struct {
	warnings []string
	partial  bool           // something may be missing
	skipped  map[string]int // elements that were left out, by the reason
}

func (n *notes) skip(reason string, elements int) {
	if n.skipped == nil {
		n.skipped = map[string]int{}
	}
	n.skipped[reason] += elements
}

func (n *notes) text(fail *failure) string {
	var parts []string
	if fail != nil {
		parts = append(parts, fail.Error())
	}
	parts = append(parts, n.warnings...)
	for reason := range n.skipped {
		parts = append(parts, "left out: "+reason)
	}
	slices.Sort(parts)
	return grace.CleanOutput(strings.Join(parts, "; "))
}

// errQuery is what the API itself says against the query.
type errQuery struct{ kind, text string }

func (e *errQuery) Error() string { return fmt.Sprintf("the query failed: %s: %s", e.kind, e.text) }

// maxWarnings bounds what is repeated of a server's warnings.
const maxWarnings = 5

// parse reads an answer. An *errQuery is the API's own, any other error means
// that the text is no answer, or that it has more than limit series.
func parse(body []byte, limit int) ([]row, notes, error) {
	var n notes
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, n, fmt.Errorf("read the answer: %w", err)
	}
	if a.Status != "success" {
		if a.Status != "error" || a.ErrorType == "" {
			return nil, n, fmt.Errorf("read the answer: status %q: this is no Prometheus API", a.Status)
		}
		return nil, n, &errQuery{a.ErrorType, a.Error}
	}
	n.warn(a)
	found, err := n.result(a.Data.ResultType, a.Data.Result)
	if err != nil {
		return nil, n, fmt.Errorf("read the answer: %w", err)
	}
	if len(found) > limit {
		return nil, n, fmt.Errorf("%w: %d series, at most %d: raise series_limit, or aggregate in the query", errTooMuch, len(found), limit)
	}
	return found, n, nil
}

// warn keeps the warnings. Infos are advice about the query's style, which
// repeats with every answer: they are left to the server's own pages. A warning may mean
// that something is missing, but one of the engine's own is about how it is asked.
func (n *notes) warn(a answer) {
	n.partial = a.IsPartial || slices.ContainsFunc(a.Warnings, func(w string) bool { return !strings.HasPrefix(w, "PromQL warning") })
	for _, w := range a.Warnings[:min(len(a.Warnings), maxWarnings)] {
		n.warnings = append(n.warnings, "warning: "+w)
	}
	if more := len(a.Warnings) - maxWarnings; more > 0 {
		n.warnings = append(n.warnings, fmt.Sprintf("warning: and %d more", more))
	}
	if a.IsPartial {
		n.warnings = append(n.warnings, "warning: the answer is partial, a part of the storage did not answer")
	}
}

func (n *notes) result(kind string, data json.RawMessage) ([]row, error) {
	switch kind {
	case "scalar":
		var p *point
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, fmt.Errorf("scalar: %w", err)
		}
		if p == nil {
			return nil, errors.New("scalar: nothing")
		}
		return []row{{points: []point{*p}}}, nil
	case "vector", "matrix":
		var list []struct {
			Metric     map[string]string `json:"metric"`
			Value      *point            `json:"value"`
			Values     []point           `json:"values"`
			Histogram  json.RawMessage   `json:"histogram"`
			Histograms []json.RawMessage `json:"histograms"`
		}
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		out := make([]row, 0, len(list))
		for _, s := range list {
			if s.Value != nil {
				s.Values = append(s.Values, *s.Value)
			}
			histograms := len(s.Histograms)
			if len(s.Histogram) > 0 {
				histograms++
			}
			if histograms > 0 {
				n.skip("native histograms: ask for histogram_quantile or histogram_avg of them", histograms)
			}
			out = append(out, row{labels: s.Metric, points: s.Values})
		}
		return out, nil
	case "string":
		return nil, errors.New("the query yields a text: want numbers")
	default:
		return nil, fmt.Errorf("result type %.40q: want vector, matrix or scalar", strings.TrimSpace(grace.CleanOutput(kind)))
	}
}
