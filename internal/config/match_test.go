package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConditions puts conditions before a drop-in of a configuration and
// expects what was observed on the reference.
func TestConditions(t *testing.T) {
	for _, tc := range []struct{ conditions, config, args, want string }{
		{"[Match]\nDistribution=debian", "", "", "yes"},
		{"[Match]\nDistribution=!debian", "", "", "no"},
		{"[Match]\nDistribution=|fedora\nDistribution=|debian", "", "", "yes"},
		{"[Match]\nDistribution=|!debian", "", "", "no"},
		{"[Match]\nDistribution=foo", "", "", "error"},
		{"[Match]\nDistribution=fedora", "[Distribution]\nDistribution=fedora", "", "yes"},
		{"[Match]\nDistribution=fedora", "", "-d fedora", "yes"},
		{"[Match]\nRelease=forky", "", "", "yes"},
		{"[Match]\nRelease=rawhide", "", "-d fedora", "yes"},
		{"[Match]\nArchitecture=uefi", "", "", "yes"},
		{"[Match]\nArchitecture=x86-64", "", "", "yes"},
		{"[Match]\nArchitecture=foo", "", "", "error"},
		{"[Match]\nRepositories=a", "[Distribution]\nRepositories=a", "", "yes"},
		{"[Match]\nFormat=disk", "", "", "yes"},
		{"[Match]\nOutputFormat=disk", "", "", "error"},
		{"[Match]\nFormat=tar", "[Output]\nFormat=tar", "", "yes"},
		{"[Match]\nImageId=a*", "", "", "no"},
		{"[Match]\nImageId=a*", "[Output]\nImageId=abc", "", "yes"},
		{"[Match]\nImageVersion=>=2", "[Output]\nImageVersion=10", "", "yes"},
		{"[Match]\nImageVersion=>2", "[Output]\nImageVersion=2~rc1", "", "no"},
		{"[Match]\nImageVersion=2", "[Output]\nImageVersion=2", "", "yes"},
		{"[Match]\nImageVersion=2", "", "", "no"},
		{"[Match]\nImageVersion=!2", "", "", "yes"},
		{"[Match]\nSystemdVersion=>=250", "", "", "yes"},
		{"[Match]\nSystemdVersion=262", "", "", "yes"},
		{"[Match]\nHostArchitecture=x86-64", "", "", "yes"},
		{"[Match]\nPathExists=foo", "", "", "no"},
		{"[Match]\nPathExists=../mkosi.conf", "", "", "no"},
		{"[Match]\nPathExists=mkosi.conf", "", "", "yes"},
		{"[Match]\nPathExists=/etc", "", "", "yes"},
		{"[Match]\nPathExists=!/etcx", "", "", "yes"},
		{"[Match]\nBootable=auto", "", "", "yes"},
		{"[Match]\nBootable=no", "", "--bootable no", "yes"},
		{"[Match]\nBootable=maybe", "", "", "error"},
		{"[Match]\nBootloader=systemd-boot", "", "", "yes"},
		{"[Match]\nBuildSources=kernel", "[Build]\nBuildSources=.:kernel", "", "yes"},
		{"[Match]\nBuildSources=/kernel", "[Build]\nBuildSources=.:kernel", "", "yes"},
		{"[Match]\nBuildSources=!kernel", "", "", "yes"},
		{"[Match]\nEnvironment=A", "[Build]\nEnvironment=A=1", "", "yes"},
		{"[Match]\nEnvironment=A=1", "[Build]\nEnvironment=A=1", "", "yes"},
		{"[Match]\nEnvironment=A=2", "[Build]\nEnvironment=A=1", "", "no"},
		{"[Match]\nEnvironment=A=", "[Build]\nEnvironment=A=1", "", "no"},
		{"[Match]\nEnvironment=A", "", "-E A=1", "yes"},
		{"[Match]\nImage=main", "", "", "yes"},
		{"[Match]\nImage=foo", "", "", "no"},
		{"[Match]\nToolsTreeDistribution=debian", "", "", "yes"},
		{"[Match]\nToolsTreeRelease=testing", "", "", "yes"},
		{"[Match]\nToolsTreeRelease=forky", "", "", "no"},
		{"[Match]\nProfiles=p", "", "--profile p", "yes"},
		{"[Match]\nProfiles=p", "", "", "no"},
		{"[Match]\nProfile=p", "", "--profile p", "yes"},
		{"[Match]\nFoo=p", "", "", "error"},
		{"[Match]\nPackages=p", "", "", "error"},
		{"[Match]\nFormat=", "", "", "error"},
		{"[Match]\nImageId=", "", "", "no"},
		{"[Match]", "", "", "yes"},
		{"[TriggerMatch]\nDistribution=debian\nRelease=foo\n[TriggerMatch]\nFormat=disk", "", "", "yes"},
		{"[TriggerMatch]\nDistribution=debian\nRelease=foo\n[TriggerMatch]\nFormat=tar", "", "", "no"},
		{"[TriggerMatch]\nDistribution=debian\n[Match]\nFormat=tar", "", "", "no"},
		{"[TriggerMatch]", "", "", "yes"},
		{"[Assert]\nDistribution=fedora", "", "", "error"},
		{"[Assert]\nDistribution=debian", "", "", "yes"},
		{"[TriggerAssert]\nDistribution=fedora\n[TriggerAssert]\nFormat=tar", "", "", "error"},
		{"[TriggerAssert]\nDistribution=fedora\n[TriggerAssert]\nFormat=disk", "", "", "yes"},
		{"[Match]\nFormat=tar\n[Assert]\nDistribution=fedora", "", "", "no"},
		{"[Match]\nDistribution=debian\n  fedora", "", "", "error"},
		{"[Match]\nDistribution=debian,fedora", "", "", "error"},
		{"[Match]\nDistribution=%d", "", "", "yes"},
		{"[Match]\nRelease=%r", "", "", "yes"},
		{"[Match]\nImageId=|a*\nImageId=|b*", "[Output]\nImageId=b", "", "yes"},
		{"[Match]\nDistribution=debian\n[Match]\nDistribution=fedora", "", "", "no"},
		{"[Content]\nLocale=x\n[Match]\nDistribution=fedora", "", "", "no"}} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "mkosi.conf.d"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string]string{"mkosi.conf": tc.config, "mkosi.conf.d/50.conf": tc.conditions + "\n[Content]\nHostname=yes\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c, err := load(t, dir, append(strings.Fields(tc.args), "summary")...)
		got := "error"
		if err == nil {
			got = map[string]string{"yes": "yes", "": "no"}[c.Main().Hostname]
		}
		if got != tc.want {
			t.Errorf("%q after %q with %q: got %s (%v), want %s", tc.conditions, tc.config, tc.args, got, err, tc.want)
		}
	}
}
