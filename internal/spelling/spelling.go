// Package spelling finds the word that somebody meant who wrote another one.
package spelling

import "strings"

// Nearest returns the candidate that text was most likely meant to be, or "".
func Nearest(text string, candidates []string) string {
	best, bestDistance := "", max(2, len(text)/3)+1
	for _, c := range candidates {
		if d := Distance(strings.ToLower(text), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if bestDistance >= len(text) {
		return ""
	}
	return best
}

// maxWord is the length in bytes beyond which words are too long to be
// mistaken for one another.
const maxWord = 64

// Distance counts the insertions, deletions, substitutions and swaps of
// neighbours between two words.
func Distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return max(len(a), len(b))
	}
	var before, row, next [maxWord + 1]int
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
