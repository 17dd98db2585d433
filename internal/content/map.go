package content

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"grace"
)

const (
	fanOut   = 16
	leafKeys = 8
	// deepest is how many levels of branches the hash of a key can tell apart.
	deepest = 2 * sha256.Size
)

// Map holds bodies by key. It is a hash trie: a leaf lists up to leafKeys keys with the
// digests of their bodies, a branch the digests of its sixteen children. The shape
// follows from the keys alone, so that equal maps have equal digests however they were
// made, and a change of one key makes new blobs for its body and the few nodes above it
// only. (Phil Bagwell, Ideal Hash Trees, 2001; the digests make it a Merkle tree.) It is
// never changed; the zero Map is empty.
type Map struct{ root *node }

// node is a leaf, which has items, or a branch, which has children.
type node struct {
	digest   grace.Digest
	blob     []byte
	children *[fanOut]*node
	items    []item // sorted by key
	count    int    // of keys below
}

type item struct {
	key    string
	digest grace.Digest
	body   []byte
}

// Digest identifies the content; that of an empty map is empty.
func (m Map) Digest() grace.Digest {
	if m.root == nil {
		return ""
	}
	return m.root.digest
}

// Len is the number of keys.
func (m Map) Len() int {
	if m.root == nil {
		return 0
	}
	return m.root.count
}

// With gives the map with a body under a key, which is not copied.
func (m Map) With(key string, body []byte) Map {
	return Map{with(m.root, item{key, Sum(body), body}, sha256.Sum256([]byte(key)), 0)}
}

// Without gives the map without a key.
func (m Map) Without(key string) Map {
	return Map{without(m.root, key, sha256.Sum256([]byte(key)), 0)}
}

// Replace gives the map of other items, which shares with m what both have in common.
func (m Map) Replace(items map[string][]byte) Map {
	out := m
	for key, body := range items {
		out = out.With(key, body)
	}
	if out.Len() == len(items) {
		return out
	}
	m.Each(func(key string, _ []byte) {
		if _, stays := items[key]; !stays {
			out = out.Without(key)
		}
	})
	return out
}

// Get gives the body under a key.
func (m Map) Get(key string) (body []byte, known bool) {
	hash := sha256.Sum256([]byte(key))
	n := m.root
	for depth := 0; n != nil && n.children != nil; depth++ {
		n = n.children[nibble(hash, depth)]
	}
	if n == nil {
		return nil, false
	}
	i, found := n.find(key)
	if !found {
		return nil, false
	}
	return n.items[i].body, true
}

// Each visits all keys, sorted.
func (m Map) Each(visit func(key string, body []byte)) {
	for _, i := range sorted(m.root) {
		visit(i.key, i.body)
	}
}

// Missing puts what has to be stored so that ReadMap finds the map again. It asks, for
// a level of the trie after the other, which blobs known has: of a node that is known
// everything below is.
func (m Map) Missing(known func([]grace.Digest) (map[grace.Digest]bool, error), put func(grace.Digest, []byte)) error {
	if m.root == nil {
		return nil
	}
	for level := []*node{m.root}; len(level) > 0; {
		var next []*node
		var digests []grace.Digest
		for _, n := range level {
			digests = append(digests, n.digest)
			for _, i := range n.items {
				digests = append(digests, i.digest)
			}
		}
		have, err := known(digests)
		if err != nil {
			return err
		}
		for _, n := range level {
			if have[n.digest] {
				continue
			}
			put(n.digest, n.blob)
			for _, i := range n.items {
				if !have[i.digest] {
					put(i.digest, i.body)
				}
			}
			if n.children != nil {
				next = append(next, slices.DeleteFunc(slices.Clone(n.children[:]), func(c *node) bool { return c == nil })...)
			}
		}
		level = next
	}
	return nil
}

// ReadMap makes a map of its stored blobs. An error names the blob, and wraps
// ErrChanged where one is not what was stored.
func ReadMap(root grace.Digest, get func(grace.Digest) ([]byte, error)) (Map, error) {
	if root == "" {
		return Map{}, nil
	}
	n, err := read(root, get, 0)
	return Map{n}, err
}

func read(d grace.Digest, get func(grace.Digest) ([]byte, error), depth int) (*node, error) {
	blob, err := Read(d, get)
	if err != nil {
		return nil, err
	}
	n, ok := decode(blob)
	if !ok || depth > deepest {
		return nil, fmt.Errorf("blob %s: it is no part of a map: %w", d, ErrChanged)
	}
	for i := range n.items {
		if n.items[i].body, err = Read(n.items[i].digest, get); err != nil {
			return nil, fmt.Errorf("%q: %w", n.items[i].key, err)
		}
	}
	if n.children == nil {
		return leaf(n.items), nil
	}
	for i, c := range n.children {
		if c == nil {
			continue
		}
		if n.children[i], err = read(c.digest, get, depth+1); err != nil {
			return nil, err
		}
	}
	return branch(*n.children), nil
}

func nibble(hash [sha256.Size]byte, depth int) byte {
	b := hash[depth/2]
	if depth%2 == 0 {
		return b >> 4
	}
	return b & 0xf
}

func (n *node) find(key string) (int, bool) {
	return slices.BinarySearchFunc(n.items, key, func(i item, key string) int { return strings.Compare(i.key, key) })
}

func with(n *node, new item, hash [sha256.Size]byte, depth int) *node {
	if n == nil {
		return leaf([]item{new})
	}
	if n.children == nil {
		i, found := n.find(new.key)
		if found && n.items[i].digest == new.digest {
			return n
		}
		items := slices.Clone(n.items)
		if found {
			items[i] = new
		} else {
			items = slices.Insert(items, i, new)
		}
		return grow(items, depth)
	}
	slot := nibble(hash, depth)
	child := with(n.children[slot], new, hash, depth+1)
	if child == n.children[slot] {
		return n
	}
	children := *n.children
	children[slot] = child
	return branch(children)
}

// grow makes a leaf, or what it splits into.
func grow(items []item, depth int) *node {
	if len(items) <= leafKeys || depth == deepest {
		return leaf(items)
	}
	var slots [fanOut][]item
	for _, i := range items {
		slot := nibble(sha256.Sum256([]byte(i.key)), depth)
		slots[slot] = append(slots[slot], i)
	}
	var children [fanOut]*node
	for i, list := range slots {
		if len(list) > 0 {
			children[i] = grow(list, depth+1)
		}
	}
	return branch(children)
}

func without(n *node, key string, hash [sha256.Size]byte, depth int) *node {
	if n == nil {
		return nil
	}
	if n.children == nil {
		i, found := n.find(key)
		if !found {
			return n
		}
		if len(n.items) == 1 {
			return nil
		}
		return leaf(slices.Delete(slices.Clone(n.items), i, i+1))
	}
	slot := nibble(hash, depth)
	child := without(n.children[slot], key, hash, depth+1)
	if child == n.children[slot] {
		return n
	}
	children := *n.children
	children[slot] = child
	if b := branch(children); b.count > leafKeys {
		return b
	}
	return leaf(sorted(&node{children: &children}))
}

func leaf(items []item) *node { return sealed(&node{items: items, count: len(items)}) }

func branch(children [fanOut]*node) *node {
	n := &node{children: &children}
	for _, c := range children {
		if c != nil {
			n.count += c.count
		}
	}
	return sealed(n)
}

func sealed(n *node) *node {
	n.blob = n.encode()
	n.digest = Sum(n.blob)
	return n
}

// sorted gives all items below a node, by key.
func sorted(n *node) []item {
	items := collect(n, nil)
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.key, b.key) })
	return items
}

func collect(n *node, to []item) []item {
	if n == nil {
		return to
	}
	to = append(to, n.items...)
	if n.children != nil {
		for _, c := range n.children {
			to = collect(c, to)
		}
	}
	return to
}
