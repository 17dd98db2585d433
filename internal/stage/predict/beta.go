package predict

import "math"

// betaCDF is the regularised incomplete beta function: the chance that a value
// of Beta(a, b) is below x. a and b are positive.
func betaCDF(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab - la - lb + a*math.Log(x) + b*math.Log1p(-x))
	// The fraction converges fast on the near side of the mean.
	if x < (a+1)/(a+b+2) {
		return front * betaFraction(x, a, b) / a
	}
	return 1 - front*betaFraction(1-x, b, a)/b
}

// betaFraction evaluates the continued fraction of the incomplete beta function
// by Lentz' method.
func betaFraction(x, a, b float64) float64 {
	const tiny, close, rounds = 1e-300, 1e-13, 300
	away := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/away(1-(a+b)*x/(a+1))
	h := d
	for i := 1; i <= rounds; i++ {
		m := float64(i)
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / away(1+even*d)
		c = away(1 + even/c)
		h *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / away(1+odd*d)
		c = away(1 + odd/c)
		h *= d * c
		if math.Abs(d*c-1) < close {
			break
		}
	}
	return h
}

// betaQuantile gives the value that Beta(a, b) is below with probability p.
// Halving is slower than Newton's steps and cannot run away; it is asked once
// a claim, not once a sample.
func betaQuantile(p, a, b float64) float64 {
	low, high := 0.0, 1.0
	for range 48 {
		middle := (low + high) / 2
		if betaCDF(middle, a, b) < p {
			low = middle
		} else {
			high = middle
		}
	}
	return (low + high) / 2
}

func logit(p float64) float64 {
	p = min(max(p, 0.005), 0.995)
	return math.Log(p / (1 - p))
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// Share gives the share of right ones and its 80 % band (Beta with a uniform
// prior); 0, 0 and 1 where there are none.
func Share(right, wrong int) (share, low, high float64) {
	if right+wrong == 0 {
		return 0, 0, 1
	}
	a, b := float64(right)+1, float64(wrong)+1
	return float64(right) / float64(right+wrong), betaQuantile(0.1, a, b), betaQuantile(0.9, a, b)
}
