package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
)

// box becomes a command that has the tools which mkosi itself uses. Without a tools tree these are the host's, and so
// is everything else: the command takes the place of this process, with its terminal, descriptors and signals.
func (a *app) box(context.Context) error {
	main := a.cfg.Main()
	if err := refuseSettings(main, "ToolsTree"); err != nil {
		return err
	}
	argv := a.cfg.VerbArgs
	if len(argv) == 0 {
		argv = []string{cmp.Or(a.host.Environment["SHELL"], "bash")}
	}
	env := os.Environ()
	if dir := a.workDir(); dir != a.dir {
		env = append(slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, "PWD=") }), "PWD="+dir)
	}
	env = boxEnv(env, main.ExtraSearchPaths, a.host.Distribution, cmp.Or(a.host.Codename, a.host.VersionID))
	program, err := a.findProgram(argv[0], env)
	if err != nil {
		return err
	}
	if err := os.Chdir(a.workDir()); err != nil {
		return fmt.Errorf("entering the directory of --directory=: %w", err)
	}
	a.ui.Close()
	if err := unix.Exec(program, argv, env); err != nil {
		return fmt.Errorf("running %s: %w", argv[0], err)
	}
	return nil
}

// workDir is the directory that the option --directory= names, or that the program was started in.
func (a *app) workDir() string {
	if filepath.IsAbs(a.cfg.Options.Directory) {
		return a.cfg.Options.Directory
	}
	return filepath.Join(a.dir, a.cfg.Options.Directory)
}

// findProgram finds a program by the PATH of an environment, as execvp(3) does.
func (a *app) findProgram(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // the directory is entered before it runs
	}
	for dir := range strings.SplitSeq(lookupEnv(env, "PATH"), ":") {
		path := filepath.Join(cmp.Or(dir, "."), name)
		if !filepath.IsAbs(path) {
			path = filepath.Join(a.workDir(), path)
		}
		if _, err := exec.LookPath(path); err == nil {
			return path, nil
		}
	}
	return "", &hintError{fmt.Errorf("finding %s: %w", name, exec.ErrNotFound), "the directories of $PATH and ExtraSearchPaths= do not have it"}
}

// boxEnv is the environment of a command in the box: the caller's, and what tells it where it is.
func boxEnv(env, searchPaths []string, distribution, release string) []string {
	set := map[string]string{
		"MKOSI_IN_BOX":        "1",
		"SHELL_PROMPT_PREFIX": "(box)" + lookupEnv(env, "SHELL_PROMPT_PREFIX"),
		// A program that asks the running system about its units would ask that of the host.
		"SYSTEMD_OFFLINE": "1",
	}
	if distribution != "" {
		set["MKOSI_HOST_DISTRIBUTION"] = distribution
	}
	if release != "" {
		set["MKOSI_HOST_RELEASE"] = release
	}
	if len(searchPaths) > 0 {
		set["PATH"] = strings.Join(append(slices.Clone(searchPaths), lookupEnv(env, "PATH")), ":")
	}
	out := slices.DeleteFunc(slices.Clone(env), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		_, ok := set[name]
		return ok
	})
	for name, value := range set {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

// lookupEnv returns the value of a variable of an environment, or "".
func lookupEnv(env []string, name string) string {
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// refuseSettings complains about those of the named settings that have a value which is not supported yet.
func refuseSettings(img *config.Image, names ...string) error {
	var problems []error
	for _, u := range config.Unsupported(img) {
		if slices.Contains(names, u.Setting) {
			problems = append(problems, &config.Error{Msg: fmt.Sprintf("image %s: %s: %s", img.Image, u.Origin, u.Reason)})
		}
	}
	return errors.Join(problems...)
}
