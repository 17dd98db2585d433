package main

import "time"

// blockRows hold what the agent's forecasts say to the block of six hours that they
// name. Claims that are late or whose block is not over are left out.
func blockRows(runs []*run) []Row {
	var out []Row
	for _, source := range []struct {
		name string
		has  func(string) bool
	}{
		{"m4hourly", func(s string) bool { return s == "m4hourly" }},
		{"other sources", func(s string) bool { return s != "m4hourly" }},
	} {
		for _, l := range []level{advised, acts} {
			var claims []blockClaims
			for _, r := range runs {
				if source.has(r.source) {
					claims = append(claims, blocksOf(r.set, l)...)
				}
			}
			judged := 0
			for _, c := range claims {
				judged += c.judged
			}
			out = append(out, Row{Name: "agent, " + l.String() + ", " + source.name, Ours: true, Cells: []Value{
				bootstrap(len(claims), 3, func(drawn []int) float64 {
					right, judged := 0, 0
					for _, i := range drawn {
						right, judged = right+claims[i].right, judged+claims[i].judged
					}
					return float64(right) / float64(judged)
				}), text("-"), figure(float64(judged), 0), text("-"),
			}})
		}
	}
	return out
}

// blockClaims are those of one series.
type blockClaims struct{ judged, right int }

func blocksOf(p *player, l level) []blockClaims {
	const side = m4Block * int64(time.Hour/time.Millisecond) / 2
	claims, back := p.at(l, "capacity")
	var out []blockClaims
	for i, j := range p.parts(false) {
		j.judge(claims[i])
		var b blockClaims
		for k, c := range claims[i] {
			named := back[i][k].reached[l].named
			if c.was == late || named+side > j.s.at[j.end-1] {
				continue
			}
			b.judged++
			for row := j.live; row < j.end; row++ {
				if at := j.s.at[row]; at >= named-side && at < named+side && j.s.values[row] > c.limit {
					b.right++
					break
				}
			}
		}
		out = append(out, b)
	}
	return out
}
