package build

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/output"
)

// MissingProgram is a program that a build needs and this machine does not have.
type MissingProgram struct {
	Image   string // the first image that needs it
	Purpose string // what for, such as "Format=ext4"
	Name    string // the program's
	Package string // the distribution package that has it, called the same in all of them
}

func (e *MissingProgram) Error() string {
	return fmt.Sprintf("image %s: %s needs %s, which this machine does not have", e.Image, e.Purpose, e.Name)
}

// Hint says what to do about it.
func (e *MissingProgram) Hint() string { return "install the package " + e.Package }

// CheckPrograms reports the programs without which the build cannot be done, each once, as joined [MissingProgram]s, so
// that a machine learns of them before it has worked for minutes. installed is usually [Installed].
func (p *Plan) CheckPrograms(installed func(name string) bool) error {
	var problems []error
	seen := map[string]bool{}
	for _, job := range p.Jobs {
		if job.Skip != "" {
			continue
		}
		for _, program := range programs(job.Image) {
			if !seen[program.Name] && !installed(program.Name) && !hasProgram(job.Image.ExtraSearchPaths, program.Name) {
				problems = append(problems, program)
			}
			seen[program.Name] = true
		}
	}
	return errors.Join(problems...)
}

// programs lists what an image cannot be built without.
func programs(img *config.Image) []*MissingProgram {
	var list []*MissingProgram
	purpose := ""
	switch {
	case installsPackages(img):
		purpose = "installing packages"
	case len(img.RemovePackages) > 0:
		purpose = "RemovePackages="
	}
	if purpose != "" {
		list = append(list,
			&MissingProgram{img.Image, purpose, "apt-get", "apt"},
			&MissingProgram{img.Image, purpose, "dpkg", "dpkg"})
	}
	if signsWithProgram(img) {
		list = append(list, &MissingProgram{img.Image, "a key or certificate that is not in a file", "openssl", "openssl"})
	}
	for _, p := range output.Programs(img) {
		list = append(list, &MissingProgram{img.Image, p.Purpose, p.Name, p.Package})
	}
	return list
}

// signsWithProgram reports whether the openssl program has to run to sign an image.
func signsWithProgram(img *config.Image) bool {
	// What is wrong with partition definitions has been told before.
	if signs, err := output.SignsVerity(img); err == nil && signs && output.VerityReference(img).NeedsProgram() {
		return true
	}
	return slices.ContainsFunc(bootKeys(img), func(k bootKey) bool { return k.NeedsProgram() })
}

// Installed reports whether this machine has a program in one of the places where the tools of a build are looked for.
func Installed(name string) bool {
	return hasProgram(strings.Split("/usr/local/sbin:/usr/local/bin:"+toolPath, ":"), name)
}

// hasProgram reports whether one of the directories has a program.
func hasProgram(dirs []string, name string) bool {
	_, err := host.FindIn(name, dirs)
	return err == nil
}
