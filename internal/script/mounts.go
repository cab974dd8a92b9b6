package script

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// sshSocket is where sync scripts find the user's SSH agent.
const sshSocket = "/run/ssh-agent.socket"

// systemOps show the programs of the host, and whatever of /etc they want.
func (v *View) systemOps(k Kind) []sandbox.Op {
	var ops []sandbox.Op
	if v.Tools != nil && k.SeesImage() {
		ops = slices.Clone(v.Tools.Ops)
	} else {
		ops = userOps()
	}
	ops = append(ops, sandbox.HostUsr()...)
	for _, dir := range v.Image.ExtraSearchPaths {
		ops = append(ops, sandbox.BindReadOnly(dir, dir))
	}
	if k.Network(v.Image) {
		ops = append(ops, sandbox.HostNetwork()...)
		for _, f := range proxyFiles(v.Image) {
			if f.source != "" {
				ops = append(ops, sandbox.BindReadOnly(f.source, f.target))
			}
		}
	}
	if k == Sync {
		ops = append(ops, v.sshOps()...)
	}
	return ops
}

// userOps name the one user there is: ssh, for one, does not run without.
func userOps() []sandbox.Op {
	return []sandbox.Op{
		sandbox.WriteFile("/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644),
		sandbox.WriteFile("/etc/group", []byte("root:x:0:\n"), 0o644),
	}
}

// sshAgent is the socket of the user's SSH agent, or "".
func (v *View) sshAgent() string {
	if socket := v.HostEnv["SSH_AUTH_SOCK"]; filepath.IsAbs(socket) && isSocket(socket) {
		return socket
	}
	return ""
}

// sshOps let sync scripts fetch from where the user may: by the user's agent, which never gives away a key, from hosts
// that the user knows.
func (v *View) sshOps() []sandbox.Op {
	ops := []sandbox.Op{sandbox.BindReadOnly("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts").Try()}
	if home := v.HostEnv["HOME"]; filepath.IsAbs(home) {
		ops = append(ops, sandbox.BindReadOnly(filepath.Join(home, ".ssh/known_hosts"), "/root/.ssh/known_hosts").Try())
	}
	if socket := v.sshAgent(); socket != "" {
		ops = append(ops, sandbox.Bind(socket, sshSocket))
	}
	return ops
}

// workOps show the directories of the build that scripts of a kind may use. Build scripts fill the build directory, and
// those after them read it.
func (v *View) workOps(k Kind) []sandbox.Op {
	ops := append([]sandbox.Op{sandbox.Dir(SourceDir, 0o755)}, v.Sources...)
	if k != Configure {
		ops = append(ops, sandbox.WriteFile(configFile, v.Config, 0o600))
	}
	bindBuild := sandbox.BindReadOnly
	if k == Build {
		bindBuild = sandbox.Bind
	}
	for _, d := range []struct {
		source, target string
		kinds          []Kind
		bind           func(source, target string) sandbox.Op
	}{
		{v.Root, buildRoot, onImage, sandbox.Bind},
		{v.ArtifactDir, artifactDir, onImage, sandbox.Bind},
		{v.PackageDir, packageDir, onImage, sandbox.Bind},
		{v.BuildDir, BuildDir, building, bindBuild},
		{v.DestDir, destDir, []Kind{Build}, sandbox.Bind},
		{v.OutputDir, outputDir, outputting, sandbox.Bind},
	} {
		if d.source != "" && slices.Contains(d.kinds, k) {
			ops = append(ops, d.bind(d.source, d.target))
		}
	}
	return ops
}

func isSocket(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().Type() == fs.ModeSocket
}

// Sources returns where scripts find each of BuildSources=, those that hold others first.
func Sources(img *config.Image) []config.Tree {
	list := slices.Clone(img.BuildSources)
	for i := range list {
		list[i].Target = path.Join(SourceDir, list[i].Target)
	}
	slices.SortStableFunc(list, func(a, b config.Tree) int { return strings.Compare(a.Target, b.Target) })
	return list
}
