package output

import (
	"fmt"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
)

// Check reports why an image could not be written, as far as its configuration and its keys tell, so that a build does
// not find out in its last step.
func Check(img *config.Image) error {
	isImage := img.Format == config.FormatDisk || img.Format == config.FormatSysext || img.Format == config.FormatConfext
	if isImage && img.CompressOutput.Extension() != "" {
		return fmt.Errorf("for Format=%s, CompressOutput=%s is not supported yet", img.Format, img.CompressOutput)
	}
	if img.Format == config.FormatDisk {
		switch img.Verity {
		case config.VerityHash, config.VeritySigned, config.VerityDefer:
			return fmt.Errorf("for Format=disk, Verity=%s is not supported yet", img.Verity)
		}
		return nil
	}
	if isImage {
		return planExtension(img, &disk.Options{})
	}
	return nil
}
