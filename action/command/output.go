package command

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"grace"
)

// tail keeps the newest output. It grows to twice what is kept and then drops
// the oldest half; it redacts before it drops, so that no half of a secret
// stays behind at the cut.
type tail struct {
	secrets []string

	mu      sync.Mutex
	buf     []byte
	dropped int
}

const growTo = 4 * grace.MaxOutput

func newTail(secrets []string) *tail { return &tail{secrets: secrets} }

// Write never fails: a program must not die of the size of its output.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > growTo {
		clean := []byte(grace.Redact(string(t.buf), t.secrets))
		cut := max(0, len(clean)-growTo/2)
		t.dropped += cut
		t.buf = append(t.buf[:0], clean[cut:]...)
	}
	return len(p), nil
}

// text gives what was kept, at most grace.MaxOutput bytes with the mark that
// says what is missing.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimRight(grace.CleanOutput(grace.Redact(string(t.buf), t.secrets)), "\n")
	const room = 64 // for the mark
	cut := t.dropped
	if len(text) > grace.MaxOutput-room {
		at := len(text) - (grace.MaxOutput - room)
		cut += at
		text = strings.ToValidUTF8(text[at:], "")
	}
	if cut > 0 {
		text = fmt.Sprintf("[%d bytes of older output were cut]\n%s", cut, text)
	}
	return text
}

// both sends standard output to the common tail and to its own.
type both struct{ all, own *tail }

func (b both) Write(p []byte) (int, error) {
	if n, err := b.all.Write(p); err != nil {
		return n, err
	}
	return b.own.Write(p)
}

func newestLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// data gives the scalar fields of a JSON object on the last line of standard
// output, nil when there is none.
func (p *process) data() map[string]string {
	line := newestLine(p.stdout.text())
	if !strings.HasPrefix(line, "{") {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(line))
	dec.UseNumber()
	var doc map[string]any
	if dec.Decode(&doc) != nil || dec.More() {
		return nil
	}
	out := map[string]string{}
	for k, v := range doc {
		switch v := v.(type) {
		case string:
			out[k] = v
		case json.Number:
			out[k] = v.String()
		case bool:
			out[k] = strconv.FormatBool(v)
		}
	}
	for k, v := range out {
		out[k] = grace.Redact(v, p.stdout.secrets)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
