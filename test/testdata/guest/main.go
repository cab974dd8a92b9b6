// The guest program is all that runs in the virtual machines of a test: it is the init of an initrd, looks at the machine
// that it is in, says what it sees on the console, one fact a line, and switches the machine off.
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	for target, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs"} {
		mount(kind, target, kind)
	}
	line := read("/proc/cmdline")
	say("command line: %s", line)
	say("credentials: %s", strings.Join(credentials(), " "))
	_, err := os.Stat("/sys/class/tpm/tpm0")
	say("TPM: %v", err == nil)
	if mount("virtiofs", "/shared", "/root/src") {
		say("shared: %s", read("/shared/from-host"))
		write("/shared/from-guest", "hello host\n")
	}
	disk()
	port("EXIT_STATUS=7\n")
	if slices.Contains(strings.Fields(line), "test.wait") {
		say("waiting")
		os.Stdin.Read(make([]byte, 1))
	}
	syscall.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// say prints a line that the test looks for.
func say(format string, args ...any) { fmt.Printf("guest: "+format+"\n", args...) }

func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data))
}

func write(path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		say("error: %v", err)
	}
}

func mount(kind, target, source string) bool {
	err := os.MkdirAll(target, 0o755)
	if err == nil {
		err = syscall.Mount(source, target, kind, 0, "")
	}
	if err != nil {
		say("mounting %s: %v", source, err)
	}
	return err == nil
}

// credentials are those in the strings of SMBIOS, of type 11.
func credentials() []string {
	files, _ := filepath.Glob("/sys/firmware/dmi/entries/11-*/raw")
	var list []string
	for _, file := range files {
		for _, text := range bytes.Split([]byte(read(file)), []byte{0}) {
			if name, value, ok := strings.Cut(string(text), "="); ok && strings.Contains(name, "io.systemd.credential.binary:test.") {
				data, _ := base64.StdEncoding.DecodeString(value)
				list = append(list, name[strings.LastIndex(name, ":")+1:]+"="+string(data))
			}
		}
	}
	slices.Sort(list)
	return list
}

// disk looks at the disk, and changes it.
func disk() {
	size := read("/sys/block/nvme0n1/size")
	say("sectors: %s", size)
	devices, _ := filepath.Glob("/sys/block/nvme0n1/nvme0n1p*")
	for _, device := range devices {
		if mount("ext4", "/disk", "/dev/"+filepath.Base(device)) {
			say("disk: %s", read("/disk/file"))
			write("/disk/file", "changed\n")
			syscall.Unmount("/disk", 0)
		}
	}
}

// port writes to the port that the host reads notifications from.
func port(text string) {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, name := range names {
		if read(name) == "io.mkosi.notify" {
			write("/dev/"+filepath.Base(filepath.Dir(name)), text)
		}
	}
}
