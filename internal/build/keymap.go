package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// keymapModels is where systemd keeps which X11 keyboard belongs to a console keymap, one keymap a line: its name, then
// layout, model, variant and options, "-" for none.
const keymapModels = "usr/share/systemd/kbd-model-map"

// vconsole returns the content of vconsole.conf(5) for a keymap. As systemd-firstboot(1) does, it names the matching
// X11 keyboard too, if the tree's systemd knows it: localectl(1) and desktops start from that.
func vconsole(root *os.Root, keymap string) (string, error) {
	content := "KEYMAP=" + keymap + "\n"
	models, err := readFileLimited(root, keymapModels, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return content, nil
	}
	if err != nil {
		return "", fmt.Errorf("reading %s of the image: %w", keymapModels, err)
	}
	for line := range strings.Lines(string(models)) {
		columns := strings.Fields(line)
		if len(columns) < 5 || columns[0] != keymap {
			continue
		}
		for i, key := range []string{"XKBLAYOUT", "XKBMODEL", "XKBVARIANT", "XKBOPTIONS"} {
			if value := columns[i+1]; value != "-" {
				content += key + "=" + value + "\n"
			}
		}
		break
	}
	return content, nil
}
