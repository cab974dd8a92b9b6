package build

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
)

func TestPCRPolicies(t *testing.T) {
	m := &image{Image: &config.Image{SignExpectedPcr: config.Disabled}}
	if o, err := m.policies(t.Context()); o != nil || err != nil {
		t.Errorf("not asked for: %+v, %v", o, err)
	}
	m.SplitArtifacts = []config.Artifact{config.ArtifactPCRs}
	if _, err := m.policies(t.Context()); !errors.Is(err, errNoPCRCertificate) {
		t.Errorf("without a certificate: %v", err)
	}
}

// What cannot work is said before anything is built.
func TestCheckBoot(t *testing.T) {
	pcrs := []config.Artifact{config.ArtifactPCRs}
	for name, test := range map[string]struct {
		img  config.Image
		want string
	}{
		"nothing":           {config.Image{}, ""},
		"no certificate":    {config.Image{Bootable: config.Enabled, Bootloader: config.BootloaderNone, SplitArtifacts: pcrs}, errNoPCRCertificate.Error()},
		"of a UKI":          {config.Image{Format: config.FormatUKI, SplitArtifacts: pcrs}, errNoPCRCertificate.Error()},
		"no UKI":            {config.Image{Bootable: config.Enabled, Bootloader: config.BootloaderNone, UnifiedKernelImages: config.UKINone, SplitArtifacts: pcrs}, ""},
		"perhaps no kernel": {config.Image{Bootable: config.Auto, SplitArtifacts: pcrs}, ""},
		"a certificate":     {config.Image{Format: config.FormatUKI, SplitArtifacts: pcrs, SignExpectedPcrCertificate: "x"}, ""},
	} {
		var problems []string
		test.img.SignExpectedPcr = config.Disabled
		checkBoot(&config.Config{}, &test.img, nil, func(_, format string, args ...any) {
			problems = append(problems, fmt.Errorf(format, args...).Error())
		})
		got := strings.Join(problems, "\n")
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
