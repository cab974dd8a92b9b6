package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/mkosi-go/mkosi/internal/build"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// plan says what a build would do, step by step, and why. Configure scripts run as they would for a build.
func (a *app) plan(ctx context.Context) error {
	a.warn()
	b, err := a.builder()
	if err != nil {
		return err
	}
	if err := b.Configure(ctx); err != nil {
		return err
	}
	plan, err := build.NewPlan(a.cfg)
	if err != nil {
		return err
	}
	steps, err := b.Steps(ctx, plan)
	if err != nil {
		return err
	}
	if a.cfg.Options.JSON {
		return a.writeJSON(append([]build.Step{}, steps...))
	}
	return a.page(ctx, func(w io.Writer) error {
		a.writeSteps(w, steps)
		return nil
	})
}

// writeSteps writes the steps of each image under its name.
func (a *app) writeSteps(w io.Writer, steps []build.Step) {
	style := ui.StyleFor(a.stdout)
	for i := 0; i < len(steps); {
		if i > 0 {
			fmt.Fprintln(w)
		}
		image := steps[i].Image
		fmt.Fprintln(w, style.Heading("IMAGE "+image))
		t := &table{}
		for ; i < len(steps) && steps[i].Image == image; i++ {
			s := steps[i]
			t.row(cell{text: "  "}, cell{string(s.Status), statusLook(style, s.Status)}, cell{text: s.Step}, cell{a.relative(s.Reason), style.Faint})
		}
		t.write(w)
	}
}

// statusLook is what is cheap in the colour of what is good, and what is done again in that of warnings.
func statusLook(style ui.Style, s build.Status) func(string) string {
	switch s {
	case build.StatusHit:
		return style.Good
	case build.StatusMiss:
		return style.Warning
	case build.StatusSkipped:
		return style.Faint
	}
	return nil
}
