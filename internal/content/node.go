package content

import (
	"encoding/base64"
	"encoding/binary"

	"grace"
)

// A node is stored as its kind and, of a leaf, each item: how long its key is, the key
// and the digest of its body. Of a branch there follow a bit for each of its children,
// the first is the highest, and their digests. A digest takes its 16 bytes: no compression
// would win back what it takes more as text.
const (
	leafKind   = 'l'
	branchKind = 'b'
	digestSize = 16
)

func (n *node) encode() []byte {
	if n.children == nil {
		blob := []byte{leafKind}
		for _, i := range n.items {
			blob = binary.AppendUvarint(blob, uint64(len(i.key)))
			blob = appendDigest(append(blob, i.key...), i.digest)
		}
		return blob
	}
	blob := append(make([]byte, 0, 3+fanOut*digestSize), branchKind, 0, 0)
	var there uint16
	for i, c := range n.children {
		if c != nil {
			there |= 1 << (fanOut - 1 - i)
			blob = appendDigest(blob, c.digest)
		}
	}
	binary.BigEndian.PutUint16(blob[1:], there)
	return blob
}

// decode gives a node of which only the keys and the digests below are known.
func decode(blob []byte) (n *node, ok bool) {
	switch {
	case len(blob) > 0 && blob[0] == leafKind:
		return decodeLeaf(blob[1:])
	case len(blob) > 2 && blob[0] == branchKind:
		return decodeBranch(binary.BigEndian.Uint16(blob[1:]), blob[3:])
	}
	return nil, false
}

func decodeLeaf(rest []byte) (n *node, ok bool) {
	n = &node{}
	for len(rest) > 0 {
		size, width := binary.Uvarint(rest)
		if width <= 0 || size > uint64(len(rest)) || len(rest)-width < int(size)+digestSize {
			return nil, false
		}
		key, after := string(rest[width:width+int(size)]), rest[width+int(size):]
		n.items = append(n.items, item{key: key, digest: digestOf(after[:digestSize])})
		rest = after[digestSize:]
	}
	return n, true
}

func decodeBranch(there uint16, rest []byte) (n *node, ok bool) {
	n = &node{children: new([fanOut]*node)}
	for i := range n.children {
		if there&(1<<(fanOut-1-i)) == 0 {
			continue
		}
		if len(rest) < digestSize {
			return nil, false
		}
		n.children[i] = &node{digest: digestOf(rest[:digestSize])}
		rest = rest[digestSize:]
	}
	return n, len(rest) == 0
}

func digestOf(sum []byte) grace.Digest {
	return grace.Digest(base64.RawURLEncoding.EncodeToString(sum))
}

// appendDigest adds the bytes that a digest stands for.
func appendDigest(to []byte, d grace.Digest) []byte {
	to, _ = base64.RawURLEncoding.AppendDecode(to, []byte(d)) // made by digestOf
	return to
}
