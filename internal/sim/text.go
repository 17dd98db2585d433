package sim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"grace"
)

// storyFile is the name of the story within an archive.
const storyFile = "story"

// Format writes a story as an archive that Parse reads, with what was found in
// it for people.
func Format(st Story, found []Violation, log []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "seed %d\nreplicas %d\nmode %s\nshadow %t\nlength %s\n", st.Seed, st.Replicas, st.Mode, st.Shadow, st.Length)
	for _, w := range st.Windows {
		fmt.Fprintf(&b, "window %s %s\n", w.From, w.To)
	}
	for _, n := range st.Services {
		fmt.Fprintf(&b, "service %s %s load=%g instances=%d capacity=%g cache=%t flag=%t auto=%t", n.ID, n.Criticality, n.Load, n.Instances, n.Capacity, n.Cache, n.Flag, n.Auto)
		for _, d := range n.DependsOn {
			fmt.Fprintf(&b, " on=%s", d)
		}
		b.WriteByte('\n')
	}
	for _, e := range st.Events {
		fmt.Fprintf(&b, "at %s %s", e.At, e.Kind)
		if e.Target != "" {
			fmt.Fprintf(&b, " target=%s", e.Target)
		}
		if e.For != 0 {
			fmt.Fprintf(&b, " for=%s", e.For)
		}
		if e.Amount != 0 {
			fmt.Fprintf(&b, " amount=%g", e.Amount)
		}
		b.WriteByte('\n')
	}
	arc := &txtar.Archive{Files: []txtar.File{{Name: storyFile, Data: b.Bytes()}}}
	if len(found) > 0 {
		var v bytes.Buffer
		for _, f := range found {
			fmt.Fprintln(&v, f)
		}
		arc.Files = append(arc.Files, txtar.File{Name: "violations", Data: v.Bytes()})
	}
	if len(log) > 0 {
		arc.Files = append(arc.Files, txtar.File{Name: "audit", Data: []byte(strings.Join(log, "\n") + "\n")})
	}
	return txtar.Format(arc)
}

// Parse reads a story from an archive. The error names the line.
func Parse(data []byte) (Story, error) {
	var st Story
	arc := txtar.Parse(data)
	i := -1
	for k, f := range arc.Files {
		if f.Name == storyFile {
			i = k
		}
	}
	if i < 0 {
		return st, errors.New("read the story: the archive has no file named story")
	}
	lines := bufio.NewScanner(bytes.NewReader(arc.Files[i].Data))
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := st.line(words); err != nil {
			return st, fmt.Errorf("read the story: line %d: %w", n, err)
		}
	}
	if st.Replicas < 1 || st.Replicas > 9 || len(st.Services) == 0 || st.Length <= 0 {
		return st, errors.New("read the story: it wants 1 to 9 replicas, services and a length")
	}
	return st, lines.Err()
}

func (st *Story) line(w []string) (err error) {
	if len(w) < 2 {
		return fmt.Errorf("%q: want a value", w[0])
	}
	switch w[0] {
	case "seed":
		st.Seed, err = strconv.ParseUint(w[1], 10, 64)
	case "replicas":
		st.Replicas, err = strconv.Atoi(w[1])
	case "mode":
		st.Mode = grace.Mode(w[1])
	case "shadow":
		st.Shadow, err = strconv.ParseBool(w[1])
	case "length":
		st.Length, err = time.ParseDuration(w[1])
	case "window":
		var s Span
		if s.From, err = time.ParseDuration(w[1]); err == nil {
			s.To, err = time.ParseDuration(w[len(w)-1])
		}
		st.Windows = append(st.Windows, s)
	case "service":
		return st.service(w[1:])
	case "at":
		return st.event(w[1:])
	default:
		return fmt.Errorf("%q: unknown word", w[0])
	}
	return err
}

func (st *Story) service(w []string) (err error) {
	if len(w) < 2 {
		return errors.New("service: want a name and a criticality")
	}
	n := Node{ID: grace.ServiceID(w[0]), Criticality: grace.Criticality(w[1])}
	for _, pair := range w[2:] {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "load":
			n.Load, err = strconv.ParseFloat(value, 64)
		case "instances":
			n.Instances, err = strconv.Atoi(value)
		case "capacity":
			n.Capacity, err = strconv.ParseFloat(value, 64)
		case "cache":
			n.Cache, err = strconv.ParseBool(value)
		case "flag":
			n.Flag, err = strconv.ParseBool(value)
		case "auto":
			n.Auto, err = strconv.ParseBool(value)
		case "on":
			n.DependsOn = append(n.DependsOn, grace.ServiceID(value))
		default:
			err = fmt.Errorf("%q: unknown word", key)
		}
		if err != nil {
			return err
		}
	}
	st.Services = append(st.Services, n)
	return nil
}

func (st *Story) event(w []string) (err error) {
	if len(w) < 2 {
		return errors.New("at: want a time and what happens")
	}
	e := Event{Kind: Kind(w[1])}
	if e.At, err = time.ParseDuration(w[0]); err != nil {
		return err
	}
	for _, pair := range w[2:] {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "target":
			e.Target = value
		case "for":
			e.For, err = time.ParseDuration(value)
		case "amount":
			e.Amount, err = strconv.ParseFloat(value, 64)
		default:
			err = fmt.Errorf("%q: unknown word", key)
		}
		if err != nil {
			return err
		}
	}
	st.Events = append(st.Events, e)
	return nil
}
