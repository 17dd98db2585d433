package predict

import (
	"hash/maphash"
	"math"
)

// index finds the series that are open by their identity. A map of identities takes 75 bytes
// more a series, and repeats what is in the series.
type index struct {
	hash  func(identity) uint32
	first map[uint32]Handle // by hash; the others with it follow as next
}

func newIndex() index {
	seed := maphash.MakeSeed() // nothing depends on it but who shares a hash
	return index{func(id identity) uint32 { return uint32(maphash.Comparable(seed, id)) }, map[uint32]Handle{}}
}

const noHandle = Handle(math.MaxUint32)

// find gives an open series.
func (a *Agent) find(id identity) (Handle, bool) {
	h, ok := a.index.first[a.index.hash(id)]
	if !ok {
		return 0, false
	}
	for ; h != noHandle; h = a.at(h).next {
		if a.at(h).name().identity() == id {
			return h, true
		}
	}
	return 0, false
}

// register has a series be found, which was not.
func (a *Agent) register(id identity, h Handle) {
	hash := a.index.hash(id)
	s := a.at(h)
	s.next = noHandle
	if first, ok := a.index.first[hash]; ok {
		s.next = first
	}
	a.index.first[hash] = h
}

// unregister has a series be found no more.
func (a *Agent) unregister(h Handle) {
	s := a.at(h)
	hash := a.index.hash(s.name().identity())
	switch first := a.index.first[hash]; {
	case first != h:
		before := a.at(first)
		for before.next != h {
			before = a.at(before.next)
		}
		before.next = s.next
	case s.next != noHandle:
		a.index.first[hash] = s.next
	default:
		delete(a.index.first, hash)
	}
}
