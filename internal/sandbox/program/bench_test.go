package program

import (
	"os/exec"
	"testing"
)

// BenchmarkForkExec is what BenchmarkProgram is to be compared with: the same command without a sandbox.
func BenchmarkForkExec(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("/usr/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProgram runs a command in a sandbox such as tools are run in.
func BenchmarkProgram(b *testing.B) {
	options := []string{"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
		"--symlink", "usr/lib64", "/lib64", "--dev", "/dev", "--bind", "/proc", "/proc", "--tmpfs", "/tmp", "--unshare-ipc", "/usr/bin/true"}
	for _, user := range users() {
		b.Run(user, func(b *testing.B) {
			for b.Loop() {
				if out, err := program(b, user, options...).CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
			}
		})
	}
}
