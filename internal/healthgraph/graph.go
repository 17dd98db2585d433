package healthgraph

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"grace"
)

// MaxRadius caps a blast radius: beyond it more services make no difference.
const MaxRadius = 10

// UnknownRadius is the blast radius of a service that is not in the graph.
const UnknownRadius = 5

// Graph holds the services and who depends on whom. It is immutable and safe
// for concurrent use.
type Graph struct {
	services []grace.Service // sorted by id
	index    map[grace.ServiceID]int
	direct   [][]int // dependents, one hop
	needs    []set   // transitive dependencies, itself left out
	needed   []set   // transitive dependents, itself left out
	groups   [][]group
	hard     [][]int // dependencies that no group makes up for, one hop

	redundant bool // there are groups
}

// group is a grace.Group by index.
type group struct {
	need int
	of   []int
}

// New builds the graph. It leaves out what Validate complains about.
func New(services []grace.Service) *Graph {
	g := &Graph{index: make(map[grace.ServiceID]int, len(services))}
	seen := make(map[grace.ServiceID]bool, len(services))
	for _, s := range services {
		if s.ID == "" || seen[s.ID] {
			continue
		}
		seen[s.ID] = true
		g.services = append(g.services, clone(s))
	}
	slices.SortFunc(g.services, func(a, b grace.Service) int { return cmp.Compare(a.ID, b.ID) })
	for i, s := range g.services {
		g.index[s.ID] = i
	}

	n := len(g.services)
	forward := make([][]int, n)
	g.direct, g.hard, g.groups = make([][]int, n), make([][]int, n), make([][]group, n)
	add := func(i int, id grace.ServiceID) (j int, ok bool) {
		j, known := g.index[id]
		if !known || j == i {
			return 0, false
		}
		if !slices.Contains(forward[i], j) {
			forward[i] = append(forward[i], j)
			g.direct[j] = append(g.direct[j], i)
		}
		return j, true
	}
	for i, s := range g.services {
		for _, id := range s.DependsOn {
			if j, ok := add(i, id); ok && !slices.Contains(g.hard[i], j) {
				g.hard[i] = append(g.hard[i], j)
			}
		}
		for _, redundant := range s.Groups {
			one := group{need: redundant.Need}
			for _, id := range redundant.Of {
				if j, ok := add(i, id); ok {
					one.of = append(one.of, j)
				}
			}
			g.groups[i], g.redundant = append(g.groups[i], one), true
		}
	}
	g.needs = closure(forward)
	g.needed = closure(g.direct)
	return g
}

// Validate names what is wrong with the services: an empty id, an id used
// twice, a dependency that nobody described. A cycle is no error.
func Validate(services []grace.Service) []error {
	var errs []error
	count := make(map[grace.ServiceID]int, len(services))
	for i, s := range services {
		if s.ID == "" {
			errs = append(errs, fmt.Errorf("service %d has no id", i+1))
			continue
		}
		count[s.ID]++
		if count[s.ID] == 2 {
			errs = append(errs, fmt.Errorf("service %q is described twice", s.ID))
		}
	}
	for _, s := range services {
		for _, id := range s.DependsOn {
			if count[id] == 0 {
				errs = append(errs, fmt.Errorf("service %q depends on %q, which is not described", s.ID, id))
			}
		}
		for _, g := range s.Groups {
			if g.Need < 1 || g.Need > len(g.Of) {
				errs = append(errs, fmt.Errorf("service %q needs %d of %d: want at least one, and not more than there are", s.ID, g.Need, len(g.Of)))
			}
			for _, id := range g.Of {
				if count[id] == 0 {
					errs = append(errs, fmt.Errorf("service %q depends on %q, which is not described", s.ID, id))
				}
			}
		}
	}
	return errs
}

// Service gives the service of an id. The caller must not change its maps and
// slices.
func (g *Graph) Service(id grace.ServiceID) (grace.Service, bool) {
	i, ok := g.index[id]
	if !ok {
		return grace.Service{}, false
	}
	return g.services[i], true
}

// Services gives all services, sorted by id.
func (g *Graph) Services() []grace.Service { return slices.Clone(g.services) }

// Len is the number of services.
func (g *Graph) Len() int { return len(g.services) }

// Direct gives the services that name id among their dependencies.
func (g *Graph) Direct(id grace.ServiceID) []grace.ServiceID {
	i, ok := g.index[id]
	if !ok {
		return nil
	}
	out := make([]grace.ServiceID, 0, len(g.direct[i]))
	for _, j := range g.direct[i] {
		out = append(out, g.services[j].ID)
	}
	slices.Sort(out)
	return out
}

// Needed counts the services that depend on id, directly or through others.
func (g *Graph) Needed(id grace.ServiceID) int {
	i, ok := g.index[id]
	if !ok {
		return 0
	}
	return g.needed[i].len()
}

// Dependents gives the services that need id, directly or through others.
func (g *Graph) Dependents(id grace.ServiceID) []grace.ServiceID {
	i, ok := g.index[id]
	if !ok {
		return nil
	}
	return g.names(g.needed[i])
}

// Dependencies gives the services that id needs, directly or through others.
func (g *Graph) Dependencies(id grace.ServiceID) []grace.ServiceID {
	i, ok := g.index[id]
	if !ok {
		return nil
	}
	return g.names(g.needs[i])
}

// Nearest gives the services that id needs, directly or through others: in the order of the
// edges between, and of their ids.
func (g *Graph) Nearest(id grace.ServiceID) []grace.ServiceID {
	from, ok := g.index[id]
	if !ok {
		return nil
	}
	seen := newSet(g.Len())
	seen.add(from)
	var out []grace.ServiceID
	for near := []int{from}; len(near) > 0; {
		var next []int
		for _, i := range near {
			for _, j := range g.lacks(i, func(grace.ServiceID) bool { return true }) {
				if !seen.has(j) {
					seen.add(j)
					next = append(next, j)
				}
			}
		}
		slices.Sort(next) // as the services are, by id
		for _, j := range next {
			out = append(out, g.services[j].ID)
		}
		near = next
	}
	return out
}

// DependsOn says whether a needs b, directly or through others. No service
// depends on itself. It does not allocate.
func (g *Graph) DependsOn(a, b grace.ServiceID) bool {
	i, known := g.index[a]
	if !known {
		return false
	}
	j, known := g.index[b]
	return known && g.needs[i].has(j)
}

// Suffers says whether a cannot do without b while the given services are ill:
// it needs b, directly or through others, and no group that is whole enough makes
// up for it. ill must count b too when b is away.
func (g *Graph) Suffers(a, b grace.ServiceID, ill func(grace.ServiceID) bool) bool {
	if !g.redundant || !g.DependsOn(a, b) {
		return g.DependsOn(a, b)
	}
	from, to := g.index[a], g.index[b]
	seen := newSet(g.Len())
	seen.add(from)
	stack := []int{from}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, j := range g.lacks(i, ill) {
			if j == to {
				return true
			}
			if !seen.has(j) {
				seen.add(j)
				stack = append(stack, j)
			}
		}
	}
	return false
}

// lacks gives the dependencies of a service that nothing makes up for: the hard
// ones, and the members of groups of which too few are well.
func (g *Graph) lacks(i int, ill func(grace.ServiceID) bool) []int {
	if len(g.groups[i]) == 0 {
		return g.hard[i]
	}
	out := slices.Clone(g.hard[i])
	for _, one := range g.groups[i] {
		well := 0
		for _, j := range one.of {
			if !ill(g.services[j].ID) {
				well++
			}
		}
		if well < one.need {
			out = append(out, one.of...)
		}
	}
	return out
}

// Memberships gives the groups that a service belongs to.
func (g *Graph) Memberships(id grace.ServiceID) []grace.Membership {
	var out []grace.Membership
	for _, s := range g.services {
		for _, group := range s.Groups {
			if i := slices.Index(group.Of, id); i >= 0 {
				out = append(out, grace.Membership{Dependent: s.ID, Need: group.Need, Others: slices.Delete(slices.Clone(group.Of), i, i+1)})
			}
		}
	}
	return out
}

// BlastRadius is the number of services that suffer when id is away while the
// given others are ill, at most MaxRadius; UnknownRadius for a service that is
// not in the graph.
func (g *Graph) BlastRadius(id grace.ServiceID, ill func(grace.ServiceID) bool) int {
	i, ok := g.index[id]
	if !ok {
		return UnknownRadius
	}
	if !g.redundant {
		return min(g.needed[i].len(), MaxRadius)
	}
	away := func(other grace.ServiceID) bool { return other == id || ill != nil && ill(other) }
	n := 0
	for _, dependent := range g.names(g.needed[i]) {
		if g.Suffers(dependent, id, away) {
			n++
		}
	}
	return min(n, MaxRadius)
}

// Cone gives id with everything that needs it or that it needs: what a change
// of id may touch. Of an unknown service it is the service alone.
func (g *Graph) Cone(id grace.ServiceID) []grace.ServiceID {
	i, ok := g.index[id]
	if !ok {
		return []grace.ServiceID{id}
	}
	cone := newSet(g.Len())
	cone.add(i)
	for w := range cone {
		cone[w] |= g.needs[i][w] | g.needed[i][w]
	}
	return g.names(cone)
}

func (g *Graph) names(s set) []grace.ServiceID {
	out := make([]grace.ServiceID, 0, s.len())
	for i := range g.services { // sorted by id, so the answer is too
		if s.has(i) {
			out = append(out, g.services[i].ID)
		}
	}
	return out
}

// closure gives, for every node, what can be reached over the edges. It is
// worked out once because diagnosis asks for every pair of sick services, and
// it asks most in a storm.
func closure(edges [][]int) []set {
	out := make([]set, len(edges))
	var stack []int
	for start := range edges {
		reached := newSet(len(edges))
		stack = append(stack[:0], edges[start]...)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if reached.has(i) {
				continue
			}
			reached.add(i)
			stack = append(stack, edges[i]...)
		}
		reached.remove(start)
		out[start] = reached
	}
	return out
}

// set is a set of small integers.
type set []uint64

func newSet(n int) set       { return make(set, (n+63)/64) }
func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) remove(i int)   { s[i/64] &^= 1 << (i % 64) }
func (s set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }
func (s set) len() (count int) {
	for _, w := range s {
		count += bits.OnesCount64(w)
	}
	return count
}

func clone(s grace.Service) grace.Service {
	s.DependsOn = slices.Clone(s.DependsOn)
	s.Groups = slices.Clone(s.Groups)
	s.Labels = maps.Clone(s.Labels)
	s.Bindings = maps.Clone(s.Bindings)
	return s
}
