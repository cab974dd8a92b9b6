package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/mkosi-go/mkosi/internal/inspect"
	"github.com/mkosi-go/mkosi/internal/ui"
)

// verified is the result of checking an image as data.
type verified struct {
	Image  string
	Good   bool
	Checks []inspect.Check
}

// verify checks everything in an image that can be checked, and fails if anything is wrong with it.
func (a *app) verify(ctx context.Context) error {
	path, err := a.imageArgument()
	if err != nil {
		return err
	}
	image, err := a.look(ctx, path, true)
	if err != nil {
		return err
	}
	if !image.Verifiable() {
		return &hintError{fmt.Errorf("%s has neither hashes nor signatures: there is nothing to verify", a.short(path)),
			"Verity=signed or Verity=hash make images that can be verified"}
	}
	v := verified{path, true, image.Checks()}
	wrong := 0
	for _, c := range v.Checks {
		if !c.Good {
			wrong++
		}
	}
	v.Good = wrong == 0
	if a.cfg.Options.JSON {
		err = a.writeJSON(v)
	} else {
		err = writeChecks(a.stdout, ui.StyleFor(a.stdout), v.Checks)
	}
	if err == nil && wrong > 0 {
		err = fmt.Errorf("%s: %d of %s found something wrong", a.short(path), wrong, count(len(v.Checks), "check"))
	}
	return err
}

// maxBadShown is how many bad blocks of one tree are shown to people.
const maxBadShown = 20

func writeChecks(w io.Writer, style ui.Style, checks []inspect.Check) error {
	t := &table{}
	for _, c := range checks {
		where := "disk"
		if c.Partition > 0 {
			where = fmt.Sprintf("partition %d", c.Partition)
		}
		mark := cell{"good", style.Good}
		if !c.Good {
			mark = cell{"wrong", style.Bad}
		}
		t.row(cell{text: "  "}, mark, cell{text: where}, cell{text: c.What}, cell{text: c.Detail})
	}
	t.write(w)
	for _, c := range checks {
		for i, b := range c.Bad {
			if i == maxBadShown {
				fmt.Fprintf(w, "  and %d more\n", len(c.Bad)-i)
				break
			}
			fmt.Fprintf(w, "  %s\n", ui.Printable(badBlock(b)))
		}
	}
	return nil
}

// badBlock says where a bad block is.
func badBlock(b inspect.BadBlock) string {
	what := fmt.Sprintf("data block %d", b.Block)
	if b.Level >= 0 {
		what = fmt.Sprintf("block %d of level %d of the hashes", b.Block, b.Level)
	}
	text := fmt.Sprintf("bad: partition %d, %s, at byte %d of the partition and %d of the image", b.Partition, what, b.Offset, b.DiskOffset)
	if b.File != "" {
		text += ", part of " + b.File
	}
	return text
}
