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
	for name, c := range map[string]*Cmd{
		"private network": {},
		"network":         {Network: true},
		"confined":        {Confine: true},
	} {
		c.Args, c.Ops = []string{"/usr/bin/true"}, HostUsr()
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := c.Run(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
