package main

// windowsOf makes anomaly windows of labelled rows as NAB makes them of labelled
// points: a tenth of the rows is shared out among the anomalies, each is in the middle
// of its window, and windows that touch are one.
func windowsOf(labels []bool) []window {
	var runs []window
	for i, l := range labels {
		switch {
		case !l:
		case i > 0 && labels[i-1]:
			runs[len(runs)-1].right = i
		default:
			runs = append(runs, window{i, i})
		}
	}
	var out []window
	for _, r := range runs {
		wider := max(0, len(labels)/10/len(runs)-(r.right-r.left+1))
		w := window{max(0, r.left-wider/2), min(len(labels)-1, r.right+wider/2)}
		if last := len(out) - 1; last >= 0 && w.left <= out[last].right+1 {
			out[last].right = max(out[last].right, w.right)
			continue
		}
		out = append(out, w)
	}
	return out
}
