package forecast

import "math"

// cholesky factors a symmetric matrix of k rows in place, from its lower
// triangle. It is false when the matrix is not positive definite.
func cholesky(a []float64, k int) bool {
	for i := range k {
		for j := 0; j <= i; j++ {
			s := a[i*k+j]
			left, right := a[i*k:i*k+j], a[j*k:j*k+j]
			for q, v := range left {
				s -= v * right[q]
			}
			switch {
			case i != j:
				a[i*k+j] = s / a[j*k+j]
			case s > 1e-12:
				a[i*k+i] = math.Sqrt(s)
			default:
				return false // also for NaN
			}
		}
	}
	return true
}

// substitute solves for b in place, by the factor of cholesky.
func substitute(factor []float64, k int, b []float64) {
	for i := range k {
		s := b[i]
		for j, v := range factor[i*k : i*k+i] {
			s -= v * b[j]
		}
		b[i] = s / factor[i*k+i]
	}
	for i := k - 1; i >= 0; i-- {
		s := b[i]
		for j := i + 1; j < k; j++ {
			s -= factor[j*k+i] * b[j]
		}
		b[i] = s / factor[i*k+i]
	}
}
