package ui

import "fmt"

// Bytes writes a number of bytes for people, with a binary unit: 1536 is 1.5K.
func Bytes(n int64) string {
	const units = "KMGT"
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f%c", f, units[i])
}
