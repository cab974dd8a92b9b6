package repart

import "testing"

func TestFlags(t *testing.T) {
	typ := func(name string) PartitionType {
		p, err := ParsePartitionType(name, "x86-64")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const grow, readOnly, noAuto = 1 << 59, 1 << 60, 1 << 63
	for _, tt := range []struct {
		def  Definition
		want uint64
	}{
		{Definition{Type: typ("root")}, grow},
		{Definition{Type: typ("root"), Verity: VerityDataRole}, readOnly},
		{Definition{Type: typ("root-verity"), Verity: VerityHashRole}, readOnly},
		{Definition{Type: typ("root-verity"), ReadOnly: ptr(false)}, 0},
		{Definition{Type: typ("home"), ReadOnly: ptr(true), GrowFileSystem: ptr(true)}, readOnly | grow},
		{Definition{Type: typ("home"), GrowFileSystem: ptr(false), Flags: grow | 1<<48}, 1 << 48},
		{Definition{Type: typ("swap"), NoAuto: ptr(true)}, noAuto},
		{Definition{Type: typ("esp"), NoAuto: ptr(true)}, 0},
		{Definition{Type: typ("linux-generic"), ReadOnly: ptr(true)}, 0},
	} {
		if got := tt.def.Attributes(); got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.def.Type.Name, got, tt.want)
		}
	}
}
