package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"grace"
)

// writtenPlaybook is a playbook as a file writes it, and where.
type writtenPlaybook struct {
	playbook
	at spot
}

// addPlaybooks gathers the playbooks of the file and of its folder, each laid
// over the domain's playbook of the same id.
func (c *checker) addPlaybooks(dir string) {
	for i, p := range c.file.Playbooks {
		c.written = append(c.written, writtenPlaybook{p, c.root.key("playbooks").item(i)})
	}
	if c.file.PlaybooksDir != "" {
		c.readFolder(dir)
	}
	c.merge()
}

func (c *checker) merge() {
	first := map[string]string{}
	for _, w := range c.written {
		if w.ID == "" {
			continue // reported as missing
		}
		at := w.at.key("id")
		checkName(at, string(w.ID))
		if before, taken := first[string(w.ID)]; taken {
			at.add("keep one of the two", "playbook %s was already defined at %s", w.ID, before)
			continue
		}
		first[string(w.ID)] = w.at.String()
		c.playbooks[w.ID] = w.over(c.playbooks[w.ID])
	}
}

// String names a spot to a reader who looks at another file.
func (s spot) String() string {
	at := s.path
	for !s.d.given(at) {
		at = parent(at)
	}
	p := s.d.places[at]
	return p.file + ":" + strconv.Itoa(p.line)
}

func (c *checker) seed(id grace.PlaybookID) (grace.Playbook, bool) {
	i := slices.IndexFunc(c.options.SeedPlaybooks, func(p grace.Playbook) bool { return p.ID == id })
	if i < 0 {
		return grace.Playbook{}, false
	}
	return c.options.SeedPlaybooks[i], true
}

// readFolder reads every playbook file of playbooks_dir in the order of their
// names.
func (c *checker) readFolder(dir string) {
	at := c.root.key("playbooks_dir")
	folder := c.file.PlaybooksDir
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(dir, folder)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		at.add("relative paths start at this file's folder", "%s", unreadable(folder, err).Message)
		return
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); e.IsDir() || ext != ".yaml" && ext != ".yml" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(folder, e.Name())
		d := newDecoder(path, reflect.TypeFor[playbook]())
		c.sources = append(c.sources, d)
		data, err := readBounded(path, maxPlaybookFile, "a playbook file")
		if err != nil {
			p := unreadable(path, err)
			p.Hint = ""
			d.note(p)
			continue
		}
		c.written = append(c.written, decodePlaybooks(d, data)...)
	}
}

// maxPlaybookFile bounds a playbook file in bytes.
const maxPlaybookFile = 1 << 20

// readBounded reads a file of bounded size: a device gives no end, and a FIFO
// waits for whoever writes to it.
func readBounded(path string, limit int64, what string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file: %s", path, info.Mode().Type())
	case info.Size() > limit:
		return nil, fmt.Errorf("%s has %d bytes, %s may have %d", path, info.Size(), what, limit)
	}
	return os.ReadFile(path)
}

// decodePlaybooks reads one playbook file: a playbook or a list of them.
func decodePlaybooks(d *decoder, data []byte) []writtenPlaybook {
	root := d.root(data)
	if root == nil {
		return nil
	}
	if root.Kind == yaml.SequenceNode {
		var list []playbook
		d.value(root, reflect.ValueOf(&list).Elem(), "", field{})
		out := make([]writtenPlaybook, len(list))
		for i, p := range list {
			out[i] = writtenPlaybook{p, spot{d, ""}.item(i)}
		}
		return out
	}
	one := withDefaults(reflect.TypeFor[playbook]()).Interface().(playbook)
	d.value(root, reflect.ValueOf(&one).Elem(), "", field{})
	return []writtenPlaybook{{one, spot{d, ""}}}
}

// over lays a written playbook over the domain's of the same id: only the keys
// that the file gives change.
func (w writtenPlaybook) over(base grace.Playbook) grace.Playbook {
	given := func(key string) bool { return w.at.key(key).given() }
	base.ID = w.ID
	set(&base.Title, w.Title, given("title"))
	set(&base.Title, string(w.ID), base.Title == "")
	set(&base.Description, w.Description, given("description"))
	set(&base.Risk, w.Risk, given("risk"))
	set(&base.Impact, w.Impact, given("impact"))
	set(&base.Auto, w.Auto, given("auto"))
	set(&base.Triggers, w.Triggers, given("triggers"))
	set(&base.Services, w.Services, given("services"))
	set(&base.Parameters, w.Parameters, given("parameters"))
	set(&base.Arguments, w.Arguments, given("arguments"))
	set(&base.Steps, w.Steps, given("steps"))
	set(&base.Verify, w.Verify, given("verify"))
	set(&base.Settle, w.Settle, given("settle"))
	set(&base.Soak, w.Soak, given("soak"))
	set(&base.Watchdog, w.Watchdog, given("watchdog"))
	return base
}

func set[T any](to *T, v T, really bool) {
	if really {
		*to = v
	}
}

// Lint looks at one playbook file by itself: a playbook or a list of them.
// Services that it names are not looked up unless o has any.
func Lint(name string, data []byte, o Options) Problems {
	d := newDecoder(name, reflect.TypeFor[playbook]())
	c := newChecker(spot{d, ""}, &file{}, o)
	c.written = decodePlaybooks(d, data)
	c.addServices()
	c.anyName = true // which services there are is the configuration's word
	c.merge()
	c.checkPlaybooks()
	if len(c.written) == 0 && len(d.problems) == 0 {
		c.root.add("a playbook begins with id: NAME", "the file holds no playbook")
	}
	problems := c.problems()
	problems.sort(name)
	return problems
}
