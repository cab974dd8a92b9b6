package version

import "testing"

func TestCompare(t *testing.T) {
	// In ascending order; the examples of the version format specification
	// among them.
	list := []string{"~1", "", "1~rc1", "1", "1-1", "1^git", "1.0", "1.1", "2", "10", "122.1", "123~rc1-1", "123", "123-a", "123-a.1", "123-1", "123-1.1", "123^post1", "123.a-1", "123.1-1", "123a-1", "124-1"}
	for i, a := range list {
		for j, b := range list {
			got := Compare(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q and %q compare as %d", a, b, got)
			}
		}
	}
	for _, same := range [][2]string{{"1", "01"}, {"1_", "1"}, {"", ""}, {"1.02", "1.2"}} {
		if c := Compare(same[0], same[1]); c != 0 {
			t.Errorf("%q and %q compare as %d", same[0], same[1], c)
		}
	}
}
