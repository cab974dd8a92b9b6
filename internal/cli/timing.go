package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/mkosi-go/mkosi/internal/timing"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// reportTiming says how long the steps of a build took: as a table among the messages or, with --json, as JSON on
// standard output; and as a drawing in the file of --debug-timing.
func (a *app) reportTiming(report timing.Report) error {
	if len(report) == 0 {
		return nil
	}
	if file := a.cfg.Options.TimingFile; file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(a.workDir(), file)
		}
		if err := renameio.WriteFile(file, report.SVG(ui.Bytes), 0o644); err != nil {
			return fmt.Errorf("writing the timing to %s: %w", file, err)
		}
	}
	if a.cfg.Options.JSON {
		e := json.NewEncoder(a.stdout)
		e.SetIndent("", "    ")
		return e.Encode(report)
	}
	a.ui.Infof("", "%s", report.Table(ui.Printable, ui.Bytes))
	return nil
}
