package output

import (
	"fmt"
	"io"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/config"
)

// Check reports why an image could not be written, as far as its configuration, its partition definitions and its keys
// tell, so that a build does not find out in its last step.
func Check(img *config.Image) error {
	if err := checkLevel(img); err != nil {
		return err
	}
	signs, err := SignsVerity(img)
	if err != nil || !signs {
		return err
	}
	if err := VerityReference(img).Check(); err != nil {
		return fmt.Errorf("signing with VerityKey= and VerityCertificate=: %w", err)
	}
	return nil
}

// checkLevel refuses a CompressLevel= that the compressor does not have. A compression that is not built in is refused
// elsewhere.
func checkLevel(img *config.Image) error {
	compression, err := compressor(img.CompressOutput)
	if err != nil || compression == archive.None {
		return nil
	}
	z, err := archive.NewWriter(io.Discard, compression, img.CompressLevel)
	if err != nil {
		return fmt.Errorf("setting CompressLevel=: %w", err)
	}
	return z.Close()
}

// hasDefinitions reports whether the image is made from partition definitions.
func hasDefinitions(img *config.Image) bool {
	switch img.Format {
	case config.FormatDisk, config.FormatSysext, config.FormatConfext, config.FormatPortable:
		return true
	}
	return false
}
