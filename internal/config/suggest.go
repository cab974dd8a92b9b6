package config

import (
	"fmt"

	"github.com/mkosi-go/mkosi/internal/spelling"
)

// didYouMean is a hint that names the nearest candidate, "" if none is near.
func didYouMean(text string, candidates []string) string {
	if near := spelling.Nearest(text, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}
