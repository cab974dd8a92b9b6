//go:build integration

package test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lifeCycleScripts are all scripts that there are, by the names of their files.
var lifeCycleScripts = []string{
	"configure", "clean", "sync", "prepare", "prepare.chroot", "build", "build.chroot",
	"postinst", "postinst.chroot", "finalize", "finalize.chroot", "postoutput",
}

// environmentDifference is a variable that scripts get from the reference and from us in different ways.
type environmentDifference struct {
	scripts  string // pattern of path.Match for the name of the script's file, with its first argument: "prepare final"
	variable string // likewise
	reason   string
}

const (
	sealed  = "sync scripts of the reference inherit the environment of whoever runs it"
	offline = "what has no network has no use for a proxy, nor for its password and key"
)

// environmentDifferences are all that there are, and each has to turn up.
var environmentDifferences = []environmentDifference{
	{"sync final", "HOST_SECRET", sealed},
	{"sync final", "HOME", sealed},
	{"sync final", "OLDPWD", sealed},
	{"sync final", "SHLVL", sealed},
	{"configure", "*[pP][rR][oO][xX][yY]*", offline},
	{"clean", "*[pP][rR][oO][xX][yY]*", offline},
	{"postoutput", "*[pP][rR][oO][xX][yY]*", offline},
	{"build* option", "*[pP][rR][oO][xX][yY]*", offline},
	{"postinst* final", "*[pP][rR][oO][xX][yY]*", offline},
	{"finalize*", "*[pP][rR][oO][xX][yY]*", offline},
	{"configure", "GIT_CONFIG_*", offline},
	{"clean", "GIT_CONFIG_*", offline},
	{"postoutput", "GIT_CONFIG_*", offline},
	{"build* option", "GIT_CONFIG_*", offline},
	{"postinst* final", "GIT_CONFIG_*", offline},
	{"finalize*", "GIT_CONFIG_*", offline},
}

// scriptConfigurations are the configurations whose scripts are compared.
var scriptConfigurations = map[string]string{
	"plain": "WithNetwork=yes\n",
	"rich": `BuildDirectory=builds
Environment=FOO=bar SRCDIR=/elsewhere PATH=/nowhere GIT_CONFIG_COUNT=0
ExtraSearchPaths=tools
WithTests=no
ProxyUrl=http://proxy.example:3128/
ProxyExclude=a.example,b.example
[Output]
ImageId=probe
ImageVersion=7
[Content]
WithDocs=no
SourceDateEpoch=1234
[Config]
Profiles=one,two
`,
}

// TestScriptEnvironment prints the environment in every script, with the reference and with us, and compares.
func TestScriptEnvironment(t *testing.T) {
	found := map[environmentDifference]bool{}
	for configuration, conf := range scriptConfigurations {
		theirs, ours := scriptEnvironments(t, conf)
		scripts := slices.Sorted(maps.Keys(theirs))
		if got := slices.Sorted(maps.Keys(ours)); !slices.Equal(scripts, got) {
			t.Fatalf("%s: the reference runs %q, we %q", configuration, scripts, got)
		}
		if len(scripts) < len(lifeCycleScripts) {
			t.Errorf("%s: only %q are run", configuration, scripts)
		}
		for _, name := range scripts {
			for variable := range differences(theirs[name], ours[name]) {
				d, ok := explained(name, variable)
				if !ok {
					t.Errorf("%s: %s: %s is %s with the reference and %s with us", configuration, name, variable, shownVariable(theirs[name], variable), shownVariable(ours[name], variable))
				}
				found[d] = true
			}
		}
	}
	for _, d := range environmentDifferences {
		if !found[d] {
			t.Errorf("%s: %s does not differ (%s)", d.scripts, d.variable, d.reason)
		}
	}
}

func explained(script, variable string) (environmentDifference, bool) {
	for _, d := range environmentDifferences {
		s, _ := path.Match(d.scripts, script)
		v, _ := path.Match(d.variable, variable)
		if s && v {
			return d, true
		}
	}
	return environmentDifference{}, false
}

// differences are the variables that are not the same in two environments.
func differences(a, b map[string]string) map[string]bool {
	names := map[string]bool{}
	for name, value := range a {
		if other, ok := b[name]; !ok || other != value {
			names[name] = true
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names[name] = true
		}
	}
	return names
}

func shownVariable(env map[string]string, name string) string {
	if value, ok := env[name]; ok {
		return fmt.Sprintf("%q", value)
	}
	return "not set"
}

// scriptEnvironments builds an image with all scripts and returns the environment of each, by the name of the script's
// file and its arguments.
func scriptEnvironments(t *testing.T, conf string) (theirs, ours map[string]map[string]string) {
	t.Helper()
	dirs := [2]string{}
	for i := range dirs {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		writeScripts(t, dir, conf)
		dirs[i] = dir
	}
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOST_SECRET=secret", "HOME=/root", "LANG=C.UTF-8"}
	args := []string{"--force", "build", "--", "option"}
	their := reference(dirs[0], append([]string{"mkosi"}, args...)...)
	their.Env = env
	our := exec.Command(binary, append([]string{"-C", dirs[1]}, args...)...)
	our.Env = env
	must(t, their)
	must(t, our)
	return readEnvironments(t, dirs[0]), readEnvironments(t, dirs[1])
}

// writeScripts writes a configuration with all scripts for an image that has a shell and little else.
func writeScripts(t *testing.T, dir, conf string) {
	t.Helper()
	const base = `[Distribution]
Distribution=debian
Release=trixie
[Output]
Format=directory
[Content]
BaseTrees=tree
Bootable=no
CleanPackageMetadata=no
[Build]
CacheOnly=always
CacheDirectory=cache
`
	writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte(base+conf), 0o644)
	for _, profile := range []string{"one", "two"} {
		writeFile(t, filepath.Join(dir, "mkosi.profiles", profile+".conf"), nil, 0o644)
	}
	for _, name := range []string{"tools", "builds", "cache", "environments"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "tree/usr/lib/os-release"), []byte("ID=debian\nVERSION_ID=13\n"), 0o644)
	writeFile(t, filepath.Join(dir, "tree/var/lib/dpkg/status"), []byte(""), 0o644)
	for _, program := range []string{"/usr/bin/sh", "/usr/bin/env"} {
		must(t, exec.Command("sh", "-euc", `for f in $1 $(ldd $1 | grep -o '/[^ ]*'); do
			mkdir -p "$2/usr/lib" "$2/$(dirname "$(realpath "$f")")" "$2/usr/bin"
			cp -L "$f" "$2/$(realpath "$f")"
			cp -L "$f" "$2/usr/lib/$(basename "$f")"
		done
		cp -L "$1" "$2/$1"
		for link in lib lib64 bin; do ln -sfn "usr/$(if [ $link = bin ]; then echo bin; else echo lib; fi)" "$2/$link"; done`,
			"sh", program, filepath.Join(dir, "tree")))
	}
	for _, name := range lifeCycleScripts {
		text := fmt.Sprintf("#!/bin/sh\nenv >\"/work/src/environments/%s${1:+ $1}\"\n", name)
		if name == "configure" {
			text = "#!/bin/sh\nread -r line\nenv >/work/src/environments/configure\nprintf '%s\\n' \"$line\"\nexec cat\n"
		}
		writeFile(t, filepath.Join(dir, "mkosi."+name), []byte(text), 0o755)
	}
}

func readEnvironments(t *testing.T, dir string) map[string]map[string]string {
	t.Helper()
	environments := map[string]map[string]string{}
	entries, err := os.ReadDir(filepath.Join(dir, "environments"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, "environments", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		env := map[string]string{}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			env[name] = strings.ReplaceAll(value, dir, "DIR")
		}
		environments[e.Name()] = env
	}
	return environments
}
