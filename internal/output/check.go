package output

import "github.com/mkosi-go/mkosi/internal/config"

// Check reports why an image could not be written, as far as its configuration, its partition definitions and its keys
// tell, so that a build does not find out in its last step.
func Check(img *config.Image) error {
	if !hasDefinitions(img) {
		return nil
	}
	_, err := planImage(img)
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
