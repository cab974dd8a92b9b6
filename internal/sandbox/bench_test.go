package sandbox

import (
	"os/exec"
	"testing"
)

// BenchmarkForkExec is what BenchmarkCmd is to be compared with: the same
// command without a sandbox.
func BenchmarkForkExec(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("/usr/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCmd runs a command with the host's tools in a sandbox.
func BenchmarkCmd(b *testing.B) {
	for _, network := range []bool{false, true} {
		name := "private network"
		if network {
			name = "network"
		}
		b.Run(name, func(b *testing.B) {
			c := &Cmd{Args: []string{"/usr/bin/true"}, Ops: HostUsr(), Network: network}
			for b.Loop() {
				if err := c.Run(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
