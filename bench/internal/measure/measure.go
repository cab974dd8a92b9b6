// Package measure holds what the benchmarks share: what a command costs, and a table of what two programs cost.
package measure

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// Reference is the root that holds the reference, which test/setup makes.
func Reference() string {
	if dir := os.Getenv("MKOSI_REFERENCE_ROOT"); dir != "" {
		return dir
	}
	return "/var/tmp/mkosi-reference"
}

// Cost is what a command cost, with all that it started.
type Cost struct {
	Wall, CPU float64 // seconds
	Peak      float64 // MiB, the largest process
}

// Run runs a command to its end.
func Run(cmd *exec.Cmd) (Cost, error) {
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return Cost{}, err
	}
	state := cmd.ProcessState
	return Cost{
		Wall: time.Since(start).Seconds(),
		CPU:  (state.UserTime() + state.SystemTime()).Seconds(),
		Peak: float64(state.SysUsage().(*syscall.Rusage).Maxrss) / 1024,
	}, nil
}

// Row is a line of the table: a figure of the reference and of this program, pair by pair.
type Row struct {
	Name         string
	Theirs, Ours []float64
}

// Ratio is the median of what this program needs for each unit that the reference needs.
func (r Row) Ratio() float64 {
	var ratios []float64
	for i := range r.Ours {
		ratios = append(ratios, r.Ours[i]/r.Theirs[i])
	}
	return Median(ratios)
}

// Print writes the medians of all rows, with so many digits of a ratio after the point.
func Print(w io.Writer, pairs, digits int, rows ...Row) error {
	if _, err := fmt.Fprintf(w, "%-28s %10s %10s %8s\n", fmt.Sprintf("median of %d pairs", pairs), "reference", "this", "ratio"); err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(w, "%-28s %10.1f %10.1f %8.*f\n", r.Name, Median(r.Theirs), Median(r.Ours), digits, r.Ratio()); err != nil {
			return err
		}
	}
	return nil
}

// Median is the middle of the values.
func Median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 1 {
		return v[n/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}
