package configtest

import (
	"encoding/json"
	"fmt"
	"slices"
)

// DefaultInitrd is the image that a program describes itself; what is in it
// is its own affair.
const DefaultInitrd = "default-initrd"

// Images reads the images of a JSON summary in their order, without the
// default initrd.
func Images(summary []byte) ([]map[string]any, error) {
	var doc struct{ Images []map[string]any }
	if err := json.Unmarshal(summary, &doc); err != nil {
		return nil, fmt.Errorf("reading a summary: %w", err)
	}
	return slices.DeleteFunc(doc.Images, func(img map[string]any) bool {
		return img["Image"] == DefaultInitrd
	}), nil
}

// Select reduces images to the keys that the expected images have, and the
// name. A key that is missing is null.
func Select(images, want []map[string]any) []map[string]any {
	var selected []map[string]any
	for i, img := range images {
		part := map[string]any{"Image": img["Image"]}
		if i < len(want) {
			for key := range want[i] {
				part[key] = img[key]
			}
		}
		selected = append(selected, part)
	}
	return selected
}
