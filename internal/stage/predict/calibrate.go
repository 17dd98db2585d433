package predict

import "math"

// curveBins is the grain of a rule's calibration.
const curveBins = 16

// curvePrior is how many resolved claims what is expected of a bin is worth.
const curvePrior = 3

// repool is after how many seconds without a claim decay is looked at again.
const repool = 3600

// curve turns a rule's raw score into the share of its claims that come true:
// isotonic regression (pool adjacent violators) over bins of the score. A
// higher score is never less likely. Old claims count less, by halves.
type curve struct {
	bins  [curveBins]tally
	level [curveBins]float64 // after pooling, at the bins' centers
	made  uint32             // when level was, 0 when it must be made anew
	// probability: of bins without claims the score itself is expected; else
	// the rule's mean.
	probability bool
}

func bin(score float64) int { return min(max(int(score*curveBins), 0), curveBins-1) }

func (c *curve) add(score float64, right bool, at uint32, halfLife float64) {
	c.bins[bin(score)].add(right, at, halfLife)
	c.made = 0
}

// at gives the expected hit rate of a score, between the bins' centers in
// proportion. mean is the rule's precision over all scores.
func (c *curve) at(score, mean float64, now uint32, halfLife float64) float64 {
	if c.made == 0 || now > c.made+repool {
		c.pool(mean, now, halfLife)
	}
	x := min(max(score, 0), 1)*curveBins - 0.5
	i := min(max(int(x), 0), curveBins-2)
	got := c.level[i] + (c.level[i+1]-c.level[i])*(x-float64(i))
	if !c.probability { // no further than what was seen
		return min(max(got, c.level[i]), c.level[i+1])
	}
	return min(max(got, 0), 1)
}

// pool makes the levels rise with the score.
func (c *curve) pool(mean float64, now uint32, halfLife float64) {
	type block struct {
		sum, weight float64
		bins        int
	}
	var blocks [curveBins]block
	n := 0
	for i := range c.bins {
		right, wrong := c.bins[i].at(now, halfLife)
		expected := mean
		if c.probability {
			expected = (float64(i) + 0.5) / curveBins
		}
		blocks[n] = block{right + curvePrior*expected, right + wrong + curvePrior, 1}
		n++
		for n > 1 && blocks[n-2].sum*blocks[n-1].weight > blocks[n-1].sum*blocks[n-2].weight {
			blocks[n-2].sum += blocks[n-1].sum
			blocks[n-2].weight += blocks[n-1].weight
			blocks[n-2].bins += blocks[n-1].bins
			n--
		}
	}
	i := 0
	for _, b := range blocks[:n] {
		for range b.bins {
			c.level[i] = b.sum / b.weight
			i++
		}
	}
	c.made = max(now, 1)
}

func logit(p float64) float64 {
	p = min(max(p, 0.005), 0.995)
	return math.Log(p / (1 - p))
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
