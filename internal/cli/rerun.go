package cli

import (
	"fmt"
	"os"

	"github.com/mkosi-go/mkosi/internal/config"
)

// checkRerun complains if the build scripts cannot be run again alone: that needs the image and what is cached of it.
func (a *app) checkRerun() error {
	if !a.cfg.Options.RerunBuildScripts {
		return nil
	}
	const option = "--rerun-build-scripts"
	for _, img := range a.cfg.Images {
		if _, err := os.Lstat(img.OutputPath(a.cfg.Dir)); err != nil && img.Format != config.FormatNone {
			return &config.Error{Msg: fmt.Sprintf("%s: image %s is not built yet", option, img.Image), Hint: "build it once without the option"}
		}
	}
	main := a.cfg.Main()
	switch {
	case main.Incremental == config.IncrementalNo:
		return &config.Error{Msg: option + " needs Incremental=", Hint: "set Incremental=yes and build the image once"}
	case main.CacheDirectory == "":
		return &config.Error{Msg: option + " needs CacheDirectory=", Hint: "make the directory mkosi.cache, and build the image once"}
	}
	return nil
}
