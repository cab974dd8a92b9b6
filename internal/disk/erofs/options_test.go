package erofs

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
)

func TestParseOptions(t *testing.T) {
	id := uuid.MustParse("2aa3c203-a411-49dd-b901-533f42c36c8c")
	for args, want := range map[string]Options{
		"":                               {Label: "base"},
		"-zzstd":                         {Label: "base", Compression: Zstd},
		"-z zstd,level=9 -C 65536":       {Label: "base", Compression: Zstd, Level: 9, ChunkSize: 65536},
		"-zzstd,12 -zlz4 -C1048576":      {Label: "base", Compression: LZ4, ChunkSize: 1 << 20},
		"-zlz4 -Efragments --quiet -d 0": {Label: "base", Compression: LZ4, Fragments: true},
		"-Lname -U " + id.String():       {Label: "name", UUID: id},
		"-T 1700000000 -Uclear":          {Label: "base", BuildTime: 1700000000, FixedTime: true},
		"-T0 --mkfs-time --all-root":     {Label: "base", AllRoot: true},
		"-b4096 --workers=3 --all-time":  {Label: "base"},
	} {
		got, err := ParseOptions(Options{Label: "base"}, strings.Fields(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Options{}, "File")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
	for args, program := range map[string]bool{
		"-zlzma": true, "-zlz4hc,9": true, "-zlz4:zstd": true, "-zzstd,dictsize=65536": true, "-zzstd,level=3,dictsize=4096": true,
		"-C4096": true, "-C5000000": true, "-Ededupe": true, "-Efragments,ztailpacking": true, "-E^inline_data": true,
		"-b512": true, "-Urandom": true, "-x-1": true, "--tar=f": true, "--mount-point=/x": true, "-m4096": true, "--exclude-path=x": true, "name": true,
		"-zlz4,1": false, "-zzstd,x": false, "-Cx": false, "-Tx": false, "-Ux": false,
	} {
		_, err := ParseOptions(Options{}, strings.Fields(args))
		if err == nil || errors.Is(err, ErrNeedsProgram) != program {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"algorithm":      {Compression: "lzma"},
		"level of lz4":   {Compression: LZ4, Level: 1},
		"level of none":  {Level: 1},
		"high level":     {Compression: Zstd, Level: 23},
		"negative level": {Compression: Zstd, Level: -1},
		"small chunks":   {ChunkSize: 4096},
		"odd chunks":     {ChunkSize: 65537},
		"large chunks":   {ChunkSize: 2 << 20},
	} {
		if im, err := Plan(t.Context(), sample(), o); err == nil {
			t.Errorf("%s: accepted as %+v", name, im.options)
		}
	}
}
