package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"grace"
	"grace/internal/store"
)

// List is one page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"cursor of the page after this one; absent on the last"`
}

// Paging is how every list is asked. It is exported because huma does not look
// into embedded structs that are not.
type Paging struct {
	Cursor string `query:"cursor" doc:"the next of the page before; empty for the newest"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

func (p Paging) page() store.Page { return store.Page{Cursor: p.Cursor, Limit: p.Limit} }

// listed is the common end of every list's handler.
func listed[T any](items []T, next string, err error) (*body[List[T]], error) {
	if err != nil {
		return nil, stored(err)
	}
	return ok(List[T]{Items: items, Next: next})
}

// found is the common end of every handler of one row.
func found[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, stored(err)
	}
	return ok(v)
}

// slicePage pages a list that is held in memory, in its own order: the cursor
// is the key of the last item given.
func slicePage[T any](items []T, key func(T) string, p Paging) List[T] {
	from := 0
	if p.Cursor != "" {
		from, _ = slices.BinarySearchFunc(items, p.Cursor, func(item T, cursor string) int {
			if key(item) <= cursor {
				return -1
			}
			return 1
		})
	}
	limit := p.Limit
	if limit <= 0 {
		limit = 50
	}
	out := List[T]{Items: items[from:min(from+limit, len(items))]}
	if from+limit < len(items) {
		out.Next = key(items[from+limit-1])
	}
	return out
}

type stateInput struct {
	Paging

	Service grace.ServiceID `query:"service" doc:"one service; without it all are listed" example:"core"`
}

// healthAnswer is one state or a list of them, as asked.
type healthAnswer struct {
	Body any
}

type serviceInput struct {
	ID grace.ServiceID `path:"id" doc:"the service's name"`
}

func (s *server) registerHealth(api huma.API) {
	registry := api.OpenAPI().Components.Schemas
	handle(s, api, op{
		method: http.MethodGet, path: "/api/health/state", id: "get-health-state", tag: "Health", role: roleViewer,
		doc: "Health of one service, or of all", what: "the health state", errors: []int{http.StatusNotFound},
		edit: func(o *huma.Operation) {
			o.Responses = map[string]*huma.Response{"200": {
				Description: "One state with ?service=, else a page of them",
				Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{OneOf: []*huma.Schema{
					registry.Schema(reflect.TypeFor[HealthView](), true, ""),
					registry.Schema(reflect.TypeFor[List[HealthView]](), true, ""),
				}}}},
			}}
		},
	}, s.healthState)
	handle(s, api, op{
		method: http.MethodGet, path: "/api/services", id: "list-services", tag: "Health", role: roleViewer,
		doc: "Services with their state and place in the health graph", what: "the services",
	}, func(ctx context.Context, in *Paging) (*body[List[ServiceView]], error) {
		q, err := s.silencer(ctx)
		if err != nil {
			return nil, err
		}
		return ok(slicePage(s.services(ctx, q), func(v ServiceView) string { return string(v.ID) }, *in))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/services/{id}", id: "get-service", tag: "Health", role: roleViewer,
		doc: "One service with its signals", what: "the service", errors: []int{http.StatusNotFound},
	}, s.service)
}

func (s *server) healthState(ctx context.Context, in *stateInput) (*healthAnswer, error) {
	states, err := s.health(ctx)
	if err != nil {
		return nil, err
	}
	if in.Service == "" {
		return &healthAnswer{Body: slicePage(states, func(h HealthView) string { return string(h.Service) }, in.Paging)}, nil
	}
	for _, h := range states {
		if h.Service == in.Service {
			return &healthAnswer{Body: h}, nil
		}
	}
	return nil, problem(http.StatusNotFound, "there is no service %q", in.Service).hint("GET /api/services lists the services")
}

// ServiceDetail is a service with all that is known about it now.
type ServiceDetail struct {
	ServiceView

	Signals []grace.Signal `json:"signals"`
}

func (s *server) service(ctx context.Context, in *serviceInput) (*body[ServiceDetail], error) {
	view, err := s.findService(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	signals, err := s.store.Signals(ctx, s.store.Q(), in.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, stored(err)
	}
	q, err := s.silencer(ctx)
	if err != nil {
		return nil, err
	}
	view.Silenced = q.of(view.Service)
	return ok(ServiceDetail{ServiceView: view, Signals: s.core.Latest(signals)})
}

// findService gives a service, or GRACE as a whole.
func (s *server) findService(ctx context.Context, id grace.ServiceID) (ServiceView, error) {
	for _, v := range s.graph() {
		if v.ID == id {
			return v, nil
		}
	}
	for _, h := range s.states() {
		if h.Service == id {
			return ServiceView{Service: grace.Service{ID: id}, Health: h}, nil
		}
	}
	return ServiceView{}, problem(http.StatusNotFound, "there is no service %q", id).hint("GET /api/services lists the services")
}
