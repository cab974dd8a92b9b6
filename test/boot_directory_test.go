//go:build integration

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// directoryConf describes a tree that boots over virtiofs, with a kernel that has the drivers for it built in; those of the
// power button are modules. What a unit of it writes at shutdown tells whether there was one.
const directoryConf = `[Distribution]
Distribution=debian
Release=trixie
[Output]
Format=directory
Output=directory
SplitArtifacts=kernel
[Content]
Bootable=no
Packages=systemd,systemd-sysv,udev,dbus,linux-image-cloud-amd64
Locale=C.UTF-8
Timezone=UTC
RootPassword=
Hostname=directory
WithDocs=no
KernelModules=re:virtio,re:failover,re:acpi/button,re:input/evdev
[Build]
BuildSources=sources
BuildDirectory=build
[Runtime]
Firmware=linux
RAM=1G
CPUs=2
Console=read-only
RuntimeTrees=shared
RuntimeTrees=shared:/srv/data
RuntimeBuildSources=yes
`

// A directory boots as it is, over virtiofs, with trees of this machine in it. What the guest does to these is done, and
// what it does to the image is unless that is ephemeral. The journal comes out while it runs; a signal to mkosi has the
// guest shut down.
func testDirectory(t *testing.T) {
	dir := filepath.Join(sharedDir, "boot-directory")
	writeTree(t, dir, map[string]string{
		"mkosi.conf":       directoryConf,
		"sources/code.c":   "int main;\n",
		"shared/from-here": "hello guest\n",
		"mkosi.extra/usr/lib/systemd/system/shutdown-mark.service": "[Unit]\nDescription=Mark of the Test\n[Service]\nType=oneshot\nRemainAfterExit=yes\n" +
			"ExecStart=/bin/true\nExecStop=/bin/sh -c 'echo orderly > /var/lib/shutdown-mark'\n[Install]\nWantedBy=multi-user.target\n",
	})
	writeFile(t, filepath.Join(dir, "mkosi.build"), []byte("#!/bin/sh\necho built > $BUILDDIR/object\n"), 0o755)
	must(t, mkosi(dir, "build"))
	image := filepath.Join(dir, "directory")

	inGuest(t, onMachine(dir, "--json", "test", "--", "sh", "-euxc", `
[ "$(findmnt --noheadings --output FSTYPE /)" = virtiofs ]
grep "hello guest" /root/src/from-here /srv/data/from-here
grep "int main" /work/src/code.c
[ "$(stat -c %u /root/src/from-here)" = 0 ]
echo "hello host" > /root/src/from-guest
grep built /work/build/object
echo rebuilt > /work/build/object
echo lost > /var/lib/lost`))
	if got := string(readFile(t, filepath.Join(dir, "shared/from-guest"))); got != "hello host\n" {
		t.Errorf("the guest wrote %q", got)
	}
	objects, err := filepath.Glob(filepath.Join(dir, "build/*/object"))
	if err != nil || len(objects) != 1 || string(readFile(t, objects[0])) != "rebuilt\n" {
		t.Errorf("the guest did not write into the build directory: %v, %v", objects, err)
	}
	if _, err := os.Stat(filepath.Join(image, "var/lib/lost")); err == nil {
		t.Error("mkosi test has changed the image")
	}

	journal := filepath.Join(dir, "forwarded/guest.journal")
	printed := watchMachine(t, onMachine(dir, "--forward-journal="+journal, "vm"), "directory login:", "Kernel panic")
	if !strings.HasSuffix(printed, "login:") {
		t.Fatal(printed)
	}
	if got, err := os.ReadFile(filepath.Join(image, "var/lib/shutdown-mark")); err != nil || string(got) != "orderly\n" {
		t.Errorf("the guest was not shut down: %q, %v", got, err)
	}
	read := exec.Command(filepath.Join(project, "test/machine"), "--share", dir, machineRoot(), "journalctl", "--file", journal, "--output=cat")
	if got := run(t, read); got.code != 0 || !strings.Contains(got.stdout, "Finished shutdown-mark.service - Mark of the Test.") {
		t.Errorf("the journal: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}
