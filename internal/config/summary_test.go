package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/txtar"
)

// told returns a summary as lines of the form "image Setting=value|value < origin|origin".
func told(images []ImageSummary, dir string) []string {
	var lines []string
	for _, img := range images {
		for _, section := range img.Sections {
			for _, s := range section.Settings {
				var values, origins []string
				for _, v := range s.Values {
					values = append(values, v.Text)
					for _, o := range v.Origins {
						origins = append(origins, o.String())
					}
				}
				line := img.Image + " " + s.Name + "=" + strings.Join(values, "|")
				if len(origins) > 0 {
					line += " < " + strings.Join(origins, "|")
				}
				lines = append(lines, strings.ReplaceAll(line, dir+"/", ""))
			}
		}
		if len(img.Shared) > 0 {
			lines = append(lines, img.Image+" as in main: "+strings.Join(img.Shared, " "))
		}
	}
	return lines
}

func summaryOf(t *testing.T, tree string, all bool, args ...string) []string {
	t.Helper()
	dir, _ := extract(t, txtar.Parse([]byte(tree)))
	c, err := load(t, dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return told(Summarize(c, all), c.Dir)
}

func TestSummaryShowsWhatDiffersAndWhy(t *testing.T) {
	want := []string{
		"base Format=directory < mkosi.images/base/mkosi.conf:2",
		"base Packages=systemd|udev < mkosi.images/base/mkosi.conf:5|mkosi.images/base/mkosi.conf:5",
		"base CleanPackageMetadata=no < mkosi.images/base/mkosi.conf:4",
		"base as in main: Distribution Release OutputDirectory",
		"btrfs Dependencies=base < mkosi.images/btrfs/mkosi.conf:2",
		"btrfs Format=sysext < mkosi.images/btrfs/mkosi.conf:4",
		"btrfs ImageVersion=2 < mkosi.images/btrfs/mkosi.conf:6",
		"btrfs Overlay=yes < mkosi.images/btrfs/mkosi.conf:5",
		"btrfs Packages=btrfs-progs < mkosi.images/btrfs/mkosi.conf:9",
		"btrfs BaseTrees=mkosi.output/base < mkosi.images/btrfs/mkosi.conf:8",
		"btrfs as in main: Distribution Release OutputDirectory",
		"main Distribution=debian < mkosi.conf:2",
		"main Release=trixie < mkosi.conf:3",
		"main Architecture=x86-64",
		"main Format=cpio < mkosi.conf:5",
		"main Output=initrd < mkosi.conf:6",
		"main OutputDirectory=mkosi.output < mkosi.output",
		"main BaseTrees=mkosi.output/base < mkosi.conf:9",
		"main Hostname=h < command line",
		"main RootPassword=(set) < mkosi.conf:10",
		"main MakeInitrd=yes < mkosi.conf:8",
	}
	got := summaryOf(t, tutorial, false, "--hostname", "h")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWholeSummaryHasEverySettingAndNoSecret(t *testing.T) {
	got := "\n" + strings.Join(summaryOf(t, tutorial, true), "\n")
	if strings.Contains(got, "hunter2") {
		t.Error("the summary shows a password")
	}
	for _, s := range Settings() {
		if s.into == "" && !strings.Contains(got, "\nmain "+s.Name+"=") {
			t.Errorf("the whole summary lacks %s", s.Name)
		}
	}
}

func TestSummaryOfAssignmentsThatChangeNothing(t *testing.T) {
	const tree = `-- mkosi.conf --
[Distribution]
Distribution=debian
Release=trixie
[Output]
CompressLevel=9
[Content]
Bootable=auto
WithDocs=yes
Packages=
-- mkosi.images/a.conf --
[Output]
Format=directory
CompressLevel=3
`
	want := []string{
		"a Format=directory < mkosi.images/a.conf:2",
		"a CompressLevel=3 < mkosi.images/a.conf:3",
		"a as in main: Distribution Release",
		"main Distribution=debian < mkosi.conf:2",
		"main Release=trixie < mkosi.conf:3",
		"main Architecture=x86-64",
		"main Format=disk",
		"main CompressLevel=9 < mkosi.conf:5",
	}
	if diff := cmp.Diff(want, summaryOf(t, tree, false)); diff != "" {
		t.Error(diff)
	}
}

func TestElementsOfAListHaveTheirOwnOrigins(t *testing.T) {
	const tree = `-- mkosi.conf --
[Distribution]
Distribution=debian
Release=trixie
[Content]
Packages=b,a
KernelCommandLine=quiet x
ExtraTrees=one
ExtraTrees=two
[Build]
Environment="A=1 2"
            B=2
-- mkosi.conf.d/x.conf --
[Content]
Packages=c b
KernelCommandLine="y z"
-- one/x --
-- two/x --
`
	got := summaryOf(t, tree, false)
	const conf, x = "mkosi.conf:", "mkosi.conf.d/x.conf:"
	want := []string{
		"main Packages=a|b|b|c < " + conf + "5|" + conf + "5|" + x + "2|" + conf + "5|" + x + "2|" + x + "2",
		"main ExtraTrees=one|two < " + conf + "7|" + conf + "8",
		`main KernelCommandLine=quiet|x|"y|z" < ` + conf + "6|" + conf + "6|" + x + "3|" + x + "3",
		"main Environment=A=1 2|B=2 < " + conf + "10|" + conf + "10",
	}
	if diff := cmp.Diff(want, got[len(got)-len(want):]); diff != "" {
		t.Error(diff)
	}
}

func TestValuesAreWrittenAsOneWouldWriteThem(t *testing.T) {
	n, epoch, mode := int64(5<<30), int64(1700000000), uint32(0o640)
	id := uuid.MustParse("15a2d534-295d-4c8b-bfc5-b71a5004a362")
	for _, tt := range []struct {
		setting string
		value   any
		want    string
	}{
		{"Bootable", Enabled, "yes"},
		{"Bootable", Auto, "auto"},
		{"WithDocs", false, "no"},
		{"OutputSize", &n, "5G"},
		{"OutputSize", (*int64)(nil), "none"},
		{"RAM", int64(2<<30 + 4096), "2097156K"},
		{"SourceDateEpoch", &epoch, "1700000000 (2023-11-14 22:13:20 UTC)"},
		{"OutputMode", &mode, "0640"},
		{"VSockCID", VSockCIDAuto, "auto"},
		{"VSockCID", int64(7), "7"},
		{"CompressLevel", 3, "3"},
		{"MachineId", &id, id.String()},
		{"Mirror", "https://u:hunter2@example.com/x", "https://u:xxxxx@example.com/x"},
		{"Mirror", "https://u@example.com/x", "https://u@example.com/x"},
		{"Mirror", "https://u:hunter2@exam ple.com/%zz", "(hidden: not a valid URL)"},
		{"RootPassword", &RootPassword{Password: "hunter2"}, "(set)"},
		{"RootPassword", (*RootPassword)(nil), "none"},
		{"Credentials", []Credential{{Name: "a", Value: "hunter2"}, {Name: "b", Path: "/p"}}, "a|b"},
		{"Drives", []Drive{{ID: "d", Size: 1 << 30, FileID: "d"}, {ID: "e", Size: 4096, Directory: "/x", FileID: "f", Flags: []string{"persist"}}},
			"d:1G|e:4K:/x::f:persist"},
		{"UnifiedKernelImageProfiles", []UKIProfile{{Profile: map[string]string{"ID": "a", "TITLE": "T t"}, Cmdline: []string{"x", "y"}}},
			"ID=a TITLE=T t Cmdline=x y"},
		{"ExtraTrees", []Tree{{Source: "/a"}, {Source: "/b", Target: "/c"}}, "/a|/b:/c"},
		{"Locale", "", "none"},
	} {
		if got := strings.Join(valueTexts(Lookup(tt.setting), tt.value), "|"); got != tt.want {
			t.Errorf("%s of %s: got %q, want %q", fmt.Sprintf("%T", tt.value), tt.setting, got, tt.want)
		}
	}
}
