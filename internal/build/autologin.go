package build

import (
	"errors"
	"fmt"
	"os"
	"path"
)

// systemUnits is where units of an image lie, see systemd.unit(5).
const systemUnits = "usr/lib/systemd/system"

// consoles are the services that ask for a name and a password on a console, and the options of their agetty(8) beside
// those that all share: the virtual terminal, a hypervisor's console, and the console of a container.
var consoles = map[string]string{
	"getty@tty1.service":        "--noclear - $TERM",
	"serial-getty@hvc0.service": "--keep-baud 115200,57600,38400,9600 - $TERM",
	"console-getty.service":     "--noclear --keep-baud console 115200,38400,9600 $TERM",
}

// writeAutologin makes the consoles log root in at once, for Autologin=.
func (m *image) writeAutologin(root *os.Root) error {
	if !m.Autologin {
		return nil
	}
	files := map[string]string{}
	for service, options := range consoles {
		files[path.Join(systemUnits, service+".d", "autologin.conf")] = "[Service]\nExecStart=\n" +
			`ExecStart=-agetty -o '-f -p -- \\u' --autologin root ` + options + "\nStandardInput=tty\nStandardOutput=tty\n"
	}
	return writeConfiguration(root, files)
}

// writeConfiguration writes files that everybody may read, and the directories that they need.
func writeConfiguration(root *os.Root, files map[string]string) error {
	var errs []error
	for _, name := range sortedKeys(files) {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return fmt.Errorf("creating the directory of %s in the image: %w", name, err)
		}
		errs = append(errs, writeFile(root, name, []byte(files[name]), 0o644))
	}
	return errors.Join(errs...)
}
