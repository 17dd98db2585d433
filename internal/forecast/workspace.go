package forecast

// Workspace is scratch memory, so that a refit allocates next to nothing once
// it is warm. The zero value is ready. It serves one refit at a time and carries
// nothing from one series to the next but what depends on the grid alone.
type Workspace struct {
	problem Problem
	fitted  Fitted
	designs []*design // of Additive

	block    []float64
	used     int
	overflow int // floats that did not fit into block
	lists    [][]float64
	listed   int
}

func (w *Workspace) reset() {
	if w.overflow > 0 {
		w.block = make([]float64, len(w.block)+w.overflow)
	}
	w.used, w.overflow, w.listed = 0, 0, 0
}

// Floats gives n zeros that live until the next Fit.
func (w *Workspace) Floats(n int) []float64 {
	if w.used+n > len(w.block) {
		w.overflow += n
		return make([]float64, n)
	}
	out := w.block[w.used : w.used+n : w.used+n]
	w.used += n
	clear(out)
	return out
}

// Paths gives room for one path of each origin.
func (w *Workspace) Paths(p *Problem) [][]float64 {
	n := len(p.Origins)
	if w.listed+n > len(w.lists) {
		w.lists, w.listed = make([][]float64, max(n, 2*len(w.lists))), 0
	}
	out := w.lists[w.listed : w.listed+n : w.listed+n]
	w.listed += n
	flat := w.Floats(n * p.Horizon)
	for i := range out {
		out[i] = flat[i*p.Horizon : (i+1)*p.Horizon : (i+1)*p.Horizon]
	}
	return out
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
