package healthgraph

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
)

func service(id grace.ServiceID, needs ...grace.ServiceID) grace.Service {
	return grace.Service{ID: id, DependsOn: needs}
}

func shop() *Graph {
	return New([]grace.Service{
		service("frontend", "catalog", "cart", "checkout"),
		service("catalog", "cache", "store"),
		service("cart", "store"),
		service("checkout", "cart", "store"),
		service("cache"),
		service("store"),
	})
}

// ring has the built-in domain's cycle: database -> executor -> database.
func ring() *Graph {
	return New([]grace.Service{
		service("database", "reflection", "executor"),
		service("executor", "database"),
		service("reflection"),
		service("mesh", "mesh"),
	})
}

func ids(s ...grace.ServiceID) []grace.ServiceID { return append([]grace.ServiceID{}, s...) }

func TestRelatives(t *testing.T) {
	tests := []struct {
		name                                   string
		graph                                  *Graph
		id                                     grace.ServiceID
		direct, dependents, dependencies, cone []grace.ServiceID
		radius                                 int
	}{
		{
			name: "leaf", graph: shop(), id: "store",
			direct:       ids("cart", "catalog", "checkout"),
			dependents:   ids("cart", "catalog", "checkout", "frontend"),
			dependencies: ids(),
			cone:         ids("cart", "catalog", "checkout", "frontend", "store"),
			radius:       4,
		},
		{
			name: "middle", graph: shop(), id: "cart",
			direct:       ids("checkout", "frontend"),
			dependents:   ids("checkout", "frontend"),
			dependencies: ids("store"),
			cone:         ids("cart", "checkout", "frontend", "store"),
			radius:       2,
		},
		{
			name: "root", graph: shop(), id: "frontend",
			direct: ids(), dependents: ids(),
			dependencies: ids("cache", "cart", "catalog", "checkout", "store"),
			cone:         ids("cache", "cart", "catalog", "checkout", "frontend", "store"),
		},
		{
			name: "cycle", graph: ring(), id: "database",
			direct:       ids("executor"),
			dependents:   ids("executor"),
			dependencies: ids("executor", "reflection"),
			cone:         ids("database", "executor", "reflection"),
			radius:       1,
		},
		{
			name: "below a cycle", graph: ring(), id: "reflection",
			direct:       ids("database"),
			dependents:   ids("database", "executor"),
			dependencies: ids(),
			cone:         ids("database", "executor", "reflection"),
			radius:       2,
		},
		{
			name: "names itself", graph: ring(), id: "mesh",
			direct: ids(), dependents: ids(), dependencies: ids(), cone: ids("mesh"),
		},
		{name: "unknown", graph: shop(), id: "ghost", cone: ids("ghost"), radius: UnknownRadius},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range []struct {
				what      string
				got, want any
			}{
				{"direct", tt.graph.Direct(tt.id), tt.direct},
				{"dependents", tt.graph.Dependents(tt.id), tt.dependents},
				{"dependencies", tt.graph.Dependencies(tt.id), tt.dependencies},
				{"cone", tt.graph.Cone(tt.id), tt.cone},
				{"radius", tt.graph.BlastRadius(tt.id, nil), tt.radius},
			} {
				if diff := cmp.Diff(c.want, c.got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.what, diff)
				}
			}
		})
	}
}

func TestDependsOn(t *testing.T) {
	shop, ring := shop(), ring()
	tests := []struct {
		graph *Graph
		a, b  grace.ServiceID
		want  bool
	}{
		{shop, "frontend", "store", true},
		{shop, "store", "frontend", false},
		{shop, "frontend", "ghost", false},
		{shop, "ghost", "store", false},
		{ring, "database", "executor", true},
		{ring, "executor", "database", true},
		{ring, "executor", "reflection", true},
		{ring, "database", "database", false},
		{ring, "mesh", "mesh", false},
	}
	for _, tt := range tests {
		if got := tt.graph.DependsOn(tt.a, tt.b); got != tt.want {
			t.Errorf("DependsOn(%s, %s) = %v", tt.a, tt.b, got)
		}
	}
}

func TestRadiusIsCapped(t *testing.T) {
	services := []grace.Service{service("store")}
	for i := range 12 {
		services = append(services, service(grace.ServiceID(fmt.Sprint("s", i)), "store"))
	}
	if got := New(services).BlastRadius("store", nil); got != MaxRadius {
		t.Errorf("got %d", got)
	}
}

func TestValidate(t *testing.T) {
	bad := []grace.Service{service("a", "b", "ghost"), service(""), service("b", "a"), service("a", "b"), service("a")}
	var got []string
	for _, err := range Validate(bad) {
		got = append(got, err.Error())
	}
	want := []string{
		`service 2 has no id`,
		`service "a" is described twice`,
		`service "a" depends on "ghost", which is not described`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if g := New(bad); g.Len() != 2 || !g.DependsOn("a", "b") || g.DependsOn("a", "ghost") {
		t.Errorf("graph of the rest: %+v", g.Services())
	}
	if errs := Validate(shop().Services()); errs != nil {
		t.Errorf("shop: %v", errs)
	}
}

func TestGraphDoesNotShareItsInput(t *testing.T) {
	in := []grace.Service{{ID: "b", Labels: map[string]string{"tier": "1"}}, {ID: "a", DependsOn: []grace.ServiceID{"b"}}}
	g := New(in)
	in[0].Labels["tier"] = "2"
	in[1].DependsOn[0] = "c"
	b, _ := g.Service("b")
	a, _ := g.Service("a")
	if b.Labels["tier"] != "1" || a.DependsOn[0] != "b" {
		t.Errorf("got %v %v", b, a)
	}
}

func drawServices(t *rapid.T) []grace.Service {
	n := rapid.IntRange(1, 70).Draw(t, "services") // past one word of the set
	services := make([]grace.Service, n)
	for i := range services {
		services[i].ID = grace.ServiceID(fmt.Sprintf("s%02d", i))
		for _, j := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 3).Draw(t, "needs") {
			services[i].DependsOn = append(services[i].DependsOn, grace.ServiceID(fmt.Sprintf("s%02d", j)))
		}
	}
	return services
}

// reaches is the naive oracle: is there a path of at least one edge?
func reaches(services []grace.Service, a, b grace.ServiceID) bool {
	edges := map[grace.ServiceID][]grace.ServiceID{}
	for _, s := range services {
		edges[s.ID] = s.DependsOn
	}
	seen := map[grace.ServiceID]bool{}
	var walk func(id grace.ServiceID) bool
	walk = func(id grace.ServiceID) bool {
		for _, next := range edges[id] {
			if next == b {
				return true
			}
			if !seen[next] {
				seen[next] = true
				if walk(next) {
					return true
				}
			}
		}
		return false
	}
	return a != b && walk(a)
}

func TestClosureEqualsPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services := drawServices(t)
		g := New(services)
		a := rapid.SampledFrom(services).Draw(t, "a").ID
		for _, s := range services {
			want := reaches(services, a, s.ID)
			if got := g.DependsOn(a, s.ID); got != want {
				t.Fatalf("DependsOn(%s, %s) = %v, a path says %v", a, s.ID, got, want)
			}
			if got := slices.Contains(g.Dependents(s.ID), a); got != want {
				t.Fatalf("%s among dependents of %s: %v, a path says %v", a, s.ID, got, want)
			}
		}
	})
}

func TestRadiusNeverShrinksByAnEdge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services := drawServices(t)
		before := New(services)
		from := rapid.IntRange(0, len(services)-1).Draw(t, "from")
		to := rapid.IntRange(0, len(services)-1).Draw(t, "to")
		services[from].DependsOn = append(slices.Clone(services[from].DependsOn), services[to].ID)
		after := New(services)
		for _, s := range services {
			if after.BlastRadius(s.ID, nil) < before.BlastRadius(s.ID, nil) {
				t.Fatalf("%s: %d, was %d", s.ID, after.BlastRadius(s.ID, nil), before.BlastRadius(s.ID, nil))
			}
		}
	})
}

func TestGroups(t *testing.T) {
	g := New([]grace.Service{
		{ID: "web", DependsOn: []grace.ServiceID{"lb"}},
		{ID: "lb", Groups: []grace.Group{{Need: 2, Of: []grace.ServiceID{"a", "b", "c"}}}},
		{ID: "a", DependsOn: []grace.ServiceID{"db"}},
		{ID: "b", DependsOn: []grace.ServiceID{"db"}},
		{ID: "c", DependsOn: []grace.ServiceID{"db"}},
		{ID: "db"},
	})
	ill := func(ids ...grace.ServiceID) func(grace.ServiceID) bool {
		return func(id grace.ServiceID) bool { return slices.Contains(ids, id) }
	}
	if !g.DependsOn("web", "a") {
		t.Error("web depends on a, through a group")
	}
	for _, tt := range []struct {
		a, b grace.ServiceID
		ill  []grace.ServiceID
		want bool
	}{
		{"lb", "a", []grace.ServiceID{"a"}, false},
		{"lb", "a", []grace.ServiceID{"a", "b"}, true},
		{"web", "a", []grace.ServiceID{"a", "c"}, true},
		{"web", "db", []grace.ServiceID{"db"}, false}, // its members go on, as far as is seen
		{"web", "db", []grace.ServiceID{"db", "a", "b"}, true},
		{"a", "db", nil, true},
	} {
		if got := g.Suffers(tt.a, tt.b, ill(tt.ill...)); got != tt.want {
			t.Errorf("%s suffers from %s while %v are ill: %t", tt.a, tt.b, tt.ill, got)
		}
	}
	if got := g.BlastRadius("a", nil); got != 0 {
		t.Errorf("two are left: %d", got)
	}
	if got := g.BlastRadius("a", ill("b")); got != 2 {
		t.Errorf("one is left of the two it needs: %d", got)
	}
	if got := g.BlastRadius("db", nil); got != 3 {
		t.Errorf("all members need it: %d", got)
	}
	want := []grace.Membership{{Dependent: "lb", Need: 2, Others: []grace.ServiceID{"a", "c"}}}
	if diff := cmp.Diff(want, g.Memberships("b")); diff != "" {
		t.Error(diff)
	}
	if errs := Validate([]grace.Service{{ID: "x", Groups: []grace.Group{{Need: 2, Of: []grace.ServiceID{"y"}}}}}); len(errs) != 2 {
		t.Errorf("errors %v", errs)
	}
}

func TestNearest(t *testing.T) {
	redundant := New([]grace.Service{
		{ID: "api", DependsOn: []grace.ServiceID{"queue"}, Groups: []grace.Group{{Need: 1, Of: []grace.ServiceID{"db2", "db1"}}}},
		service("queue", "disk"), service("db1", "disk", "az"), service("db2"), service("disk"), service("az", "api"),
	})
	for _, tt := range []struct {
		graph *Graph
		id    grace.ServiceID
		want  []grace.ServiceID
	}{
		{shop(), "frontend", ids("cart", "catalog", "checkout", "cache", "store")},
		{shop(), "store", nil},
		{shop(), "stranger", nil},
		{ring(), "database", ids("executor", "reflection")},
		{redundant, "api", ids("db1", "db2", "queue", "az", "disk")},
	} {
		if got := tt.graph.Nearest(tt.id); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.id, got, tt.want)
		}
	}
}
