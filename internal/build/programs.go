package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
	"github.com/mkosi-go/mkosi/internal/keys"
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

// CheckKeys reports the keys that are not in files and cannot be used, before the build has worked for minutes.
func (p *Plan) CheckKeys(ctx context.Context) error {
	var problems []error
	for _, job := range p.Jobs {
		if job.Skip != "" {
			continue
		}
		errs := []error{output.CheckKeys(ctx, job.Image)}
		for _, r := range bootKeys(job.Image) {
			if r.NeedsProgram() {
				_, _, err := output.LoadKey(ctx, job.Image, r)
				errs = append(errs, err)
			}
		}
		if err := errors.Join(errs...); err != nil {
			problems = append(problems, &ConfigError{Err: fmt.Errorf("image %s: %w", job.Image.Image, err)})
		}
	}
	return errors.Join(problems...)
}

// bootKeys are the keys that sign what an image boots with.
func bootKeys(img *config.Image) (list []keys.Reference) {
	if signsBoot(img) {
		list = append(list, output.SecureBootReference(img))
	}
	if wantsPCRSignature(img) {
		list = append(list, output.ExpectedPCRReference(img))
	}
	return list
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
	signing := append(bootKeys(img), output.VerityReference(img))
	if slices.ContainsFunc(signing, keys.Reference.NeedsProgram) {
		list = append(list, &MissingProgram{img.Image, "a key or certificate that is not in a file", "openssl", "openssl"})
	}
	for _, p := range output.Programs(img) {
		list = append(list, &MissingProgram{img.Image, p.Purpose, p.Name, p.Package})
	}
	return list
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
