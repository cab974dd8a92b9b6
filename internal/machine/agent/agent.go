// Package agent runs commands and units in a running guest without anything in the image that is made for it: neither
// SSH nor a network is needed. A unit and a shell script get into the guest as system credentials, and speak with the
// host over ports of the virtual machine's serial bus (virtio-serial).
//
// Over [ControlPort], requests and replies are lines of words. Every request is answered before the next one, so that
// neither side reads more than is meant for it:
//
//	guest   hello 1                      the script runs; 1 is the version of all this
//	guest   state WORD                   the state of the system, see is-system-running in systemctl(1), while it boots
//	guest   ready WORD                   the system has booted into this state; requests may come now
//	host    file NAME SIZE MODE          SIZE bytes follow, for a file in the script's own directory
//	host    run NAME SECONDS MARK        execute that file, for so long at most
//	host    unit NAME SECONDS MARK       start that file as a unit, and wait for its end
//	host    failed - 0 MARK              list the units that failed
//	host    journal - 0 MARK             write the journal
//	guest   exit STATUS [WORD]           the reply to each: 0, or what is wrong
//
// What a command writes comes over [OutputPort] and [ErrorPort] as it is. When it has ended, the guest writes the mark
// of the request, a random text, to both. What a process that was left behind writes after that belongs to nobody.
//
// Over [LogPort], if the guest has it, the journal comes as text while it is written.
package agent

import _ "embed"

// The ports of the serial bus.
const (
	ControlPort = "io.mkosi.control"
	OutputPort  = "io.mkosi.output"
	ErrorPort   = "io.mkosi.error"
	LogPort     = "io.mkosi.log"
)

// MaxFile is how many bytes a file for the guest may have. It lies in the guest's memory.
const MaxFile = 64 << 20

var (
	//go:embed guest/agent.sh
	guestScript string
	//go:embed guest/mkosi-agent.service
	guestUnit string
	//go:embed guest/wants.conf
	guestWants string
)

// GuestCredentials are the system credentials, by name, that bring the script into a guest. It needs systemd 256 or
// newer, which takes units by credentials, a kernel with virtio_console, and the shell and the small programs that every
// distribution has in its base: cp, head, mkdir, mount, sleep and timeout.
func GuestCredentials() map[string]string {
	return map[string]string{
		"mkosi.agent":                                     guestScript,
		"systemd.extra-unit.mkosi-agent.service":          guestUnit,
		"systemd.unit-dropin.basic.target~50-mkosi-agent": guestWants,
	}
}
