package output

import (
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// Check reports why an image could not be written, as far as its configuration, its partition definitions and its keys
// tell, so that a build does not find out in its last step.
func Check(img *config.Image) error {
	if !hasDefinitions(img) {
		return nil
	}
	_, err := planImage(img, nil)
	return err
}

// hasDefinitions reports whether the image is made from partition definitions.
func hasDefinitions(img *config.Image) bool {
	switch img.Format {
	case config.FormatDisk, config.FormatSysext, config.FormatConfext, config.FormatPortable:
		return true
	}
	return false
}

// definitions returns the partition definitions of an image, none if it has none or they cannot be read.
func definitions(img *config.Image) []repart.Definition {
	plan := &imagePlan{}
	if !hasDefinitions(img) || plan.find(img) != nil {
		return nil
	}
	defs, err := plan.read(img, nil)
	if err != nil {
		return nil
	}
	return defs
}
