package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How long a caller waits for an answer.
const (
	patienceFrontend = 3 * time.Second
	patienceStore    = 2 * time.Second
	patienceCart     = 2 * time.Second
	// patienceCache is short of what the callers of catalog bear: after it
	// there must be time to ask store.
	patienceCache = 1500 * time.Millisecond
)

// products are what the shop sells; readCost is what store takes for each.
const (
	products = 240
	readCost = 12 * time.Millisecond
)

// handle routes what the service is there for.
func (r *replica) handle(mux *http.ServeMux) {
	switch r.spec.name {
	case Frontend:
		mux.HandleFunc("GET /{$}", r.serve(r.home))
		mux.HandleFunc("POST /buy", r.serve(r.buy))
	case Catalog:
		mux.HandleFunc("GET /products", r.serve(r.listProducts))
	case Cache:
		mux.HandleFunc("GET /items", r.serve(r.getItems))
		mux.HandleFunc("PUT /items", r.serve(r.putItems))
		mux.HandleFunc("PUT /admin/cache", r.warm)
	case Cart:
		mux.HandleFunc("GET /carts/{user}", r.serve(r.getCart))
		mux.HandleFunc("POST /carts/{user}", r.serve(r.addToCart))
		mux.HandleFunc("DELETE /carts/{user}", r.serve(r.emptyCart))
	case Checkout:
		mux.HandleFunc("POST /checkout", r.serve(r.checkout))
	case Store:
		mux.HandleFunc("GET /products", r.serve(r.readProducts))
		mux.HandleFunc("POST /orders", r.serve(r.placeOrder))
		mux.HandleFunc("GET /admin/dump", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, r.shelf.products) })
	}
}

// call asks another service through its breaker and decodes the answer into
// out. The error says which service failed and how.
func (r *replica) call(ctx context.Context, peer, method, path string, patience time.Duration, body, out any) error {
	b := r.breakers[peer]
	if !b.allow(time.Now()) {
		return fmt.Errorf("%s: the circuit breaker is open", peer)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, err := request(ctx, r.client, method, r.peers[peer]+path, body, out)
	// The end of patience counts neither way: a slow peer is not cut off, its
	// queue is already bounded by this patience.
	if status > 0 || ctx.Err() == nil {
		b.done(time.Now(), status == 0 || status >= 500)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", peer, err)
	}
	return nil
}

// request does one HTTP exchange; an answer that is not 2xx is an error.
func request(ctx context.Context, client *http.Client, method, address string, body, out any) (status int, err error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, fmt.Errorf("encode the request: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, payload)
	if err != nil {
		return 0, fmt.Errorf("make the request: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, fmt.Errorf("answered %d: %s", resp.StatusCode, bytes.TrimSpace(data))
	}
	if out == nil {
		return resp.StatusCode, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return resp.StatusCode, fmt.Errorf("decode the answer: %w", err)
	}
	return resp.StatusCode, nil
}

// needed turns the failure of a service that is needed into an answer.
func needed(err error) answer {
	return answer{http.StatusBadGateway, problem{err.Error()}}
}

// home is the shop's page: products, and the cart when there is one.
func (r *replica) home(req *http.Request) answer {
	page := struct {
		Products map[int]json.RawMessage `json:"products"`
		Cart     []int                   `json:"cart"`
		Degraded []string                `json:"degraded,omitempty"`
	}{}
	path := "/products?ids=" + url.QueryEscape(req.URL.Query().Get("ids"))
	if err := r.call(req.Context(), Catalog, http.MethodGet, path, patienceFrontend, nil, &page.Products); err != nil {
		return needed(err)
	}
	user := "/carts/" + url.PathEscape(req.URL.Query().Get("user"))
	if err := r.call(req.Context(), Cart, http.MethodGet, user, patienceCart, nil, &page.Cart); err != nil {
		page.Degraded = append(page.Degraded, Cart)
	}
	return answer{http.StatusOK, page}
}

func (r *replica) buy(req *http.Request) answer {
	var order map[string]any
	path := "/checkout?user=" + url.QueryEscape(req.URL.Query().Get("user"))
	if err := r.call(req.Context(), Checkout, http.MethodPost, path, patienceFrontend, nil, &order); err != nil {
		return needed(err)
	}
	return answer{http.StatusOK, order}
}

// found is cache's answer.
type found struct {
	Items   map[int]json.RawMessage `json:"items"`
	Missing []int                   `json:"missing"`
}

func (r *replica) listProducts(req *http.Request) answer {
	ids := parseIDs(req)
	var cached found
	err := r.call(req.Context(), Cache, http.MethodGet, "/items?ids="+joinIDs(ids), patienceCache, nil, &cached)
	if err != nil {
		cached = found{Missing: ids}
	}
	all := map[int]json.RawMessage{}
	maps.Copy(all, cached.Items)
	if len(cached.Missing) > 0 {
		var read map[int]json.RawMessage
		path := "/products?ids=" + joinIDs(cached.Missing)
		if err := r.call(req.Context(), Store, http.MethodGet, path, patienceStore, nil, &read); err != nil {
			return needed(err)
		}
		maps.Copy(all, read)
		if err == nil {
			// The page is complete without it: a fill that fails is a miss later.
			_ = r.call(req.Context(), Cache, http.MethodPut, "/items", patienceCache, read, nil)
		}
	}
	return answer{http.StatusOK, all}
}

func (r *replica) getItems(req *http.Request) answer {
	out := found{Items: map[int]json.RawMessage{}, Missing: []int{}}
	now := time.Now()
	for _, id := range parseIDs(req) {
		if v, ok := r.cache.get(id, now); ok {
			out.Items[id] = v
		} else {
			out.Missing = append(out.Missing, id)
		}
	}
	return answer{http.StatusOK, out}
}

func (r *replica) putItems(req *http.Request) answer {
	var values map[int]json.RawMessage
	if err := json.NewDecoder(req.Body).Decode(&values); err != nil {
		return answer{http.StatusBadRequest, problem{"items: " + err.Error()}}
	}
	r.cache.fill(values, fillTTL, time.Now())
	return answer{http.StatusOK, len(values)}
}

// warm fills the whole cache; the platform sends it, so it passes the queue by.
func (r *replica) warm(w http.ResponseWriter, req *http.Request) {
	var body warmRequest
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		reply(w, http.StatusBadRequest, problem{err.Error()})
		return
	}
	r.cache.fill(body.Items, body.TTL, time.Now())
	reply(w, http.StatusOK, r.report())
}

type warmRequest struct {
	TTL   time.Duration           `json:"ttl"`
	Items map[int]json.RawMessage `json:"items"`
}

// carts are best effort: a replica that has not seen a user starts an empty
// one.
type carts struct {
	mu     sync.Mutex
	byUser map[string][]int
}

// cartLimit keeps a cart that nobody buys from growing for ever.
const cartLimit = 20

func (r *replica) getCart(req *http.Request) answer {
	r.carts.mu.Lock()
	defer r.carts.mu.Unlock()
	return answer{http.StatusOK, append([]int{}, r.carts.byUser[req.PathValue("user")]...)}
}

func (r *replica) addToCart(req *http.Request) answer {
	r.carts.mu.Lock()
	defer r.carts.mu.Unlock()
	user := req.PathValue("user")
	cart := append(r.carts.byUser[user], parseIDs(req)...)
	if len(cart) > cartLimit {
		cart = cart[len(cart)-cartLimit:]
	}
	r.carts.byUser[user] = cart
	return answer{http.StatusOK, slices.Clone(cart)}
}

func (r *replica) emptyCart(req *http.Request) answer {
	r.carts.mu.Lock()
	defer r.carts.mu.Unlock()
	delete(r.carts.byUser, req.PathValue("user"))
	return answer{http.StatusOK, []int{}}
}

func (r *replica) checkout(req *http.Request) answer {
	user := req.URL.Query().Get("user")
	var ids []int
	if err := r.call(req.Context(), Cart, http.MethodGet, "/carts/"+url.PathEscape(user), patienceCart, nil, &ids); err != nil {
		return needed(err)
	}
	var order map[string]any
	body := map[string]any{"user": user, "items": ids}
	if err := r.call(req.Context(), Store, http.MethodPost, "/orders", patienceStore, body, &order); err != nil {
		return needed(err)
	}
	return answer{http.StatusOK, order}
}

// shelf is store's data.
type shelf struct {
	products map[int]json.RawMessage
	mu       sync.Mutex
	orders   int
}

func newShelf() *shelf {
	s := &shelf{products: map[int]json.RawMessage{}}
	for id := 1; id <= products; id++ {
		s.products[id] = json.RawMessage(fmt.Sprintf(`{"id":%d,"name":"Article %d","price_cents":%d}`, id, id, 99+id*37%5000))
	}
	return s
}

func (r *replica) readProducts(req *http.Request) answer {
	out := map[int]json.RawMessage{}
	ids := parseIDs(req)
	for _, id := range ids {
		if p, ok := r.shelf.products[id]; ok {
			out[id] = p
		}
	}
	pause(req.Context(), time.Duration(len(ids))*readCost)
	return answer{http.StatusOK, out}
}

func (r *replica) placeOrder(*http.Request) answer {
	r.shelf.mu.Lock()
	defer r.shelf.mu.Unlock()
	r.shelf.orders++
	return answer{http.StatusOK, map[string]any{"order": fmt.Sprintf("%s-%d", r.id, r.shelf.orders)}}
}

// parseIDs reads ?ids=1,2,3; what is not a number is left out.
func parseIDs(req *http.Request) []int {
	var ids []int
	for part := range strings.SplitSeq(req.URL.Query().Get("ids"), ",") {
		if id, err := strconv.Atoi(part); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func joinIDs(ids []int) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Itoa(id)
	}
	return strings.Join(parts, ",")
}
