package notify

import _ "embed"

// Port is the name of the port of the virtual machine's serial bus that [GuestCredentials] writes to, and
// [Receiver.ReadPort] reads from.
const Port = "io.mkosi.notify"

var (
	//go:embed guest/notify.sh
	guestScript string
	//go:embed guest/mkosi-notify.service
	guestUnit string
	//go:embed guest/wants.conf
	guestWants string
)

// GuestCredentials are the system credentials that make a guest report over [Port], by name, where systemd itself cannot:
// it only knows sockets. They bring a unit that says READY=1 when booting is done and EXIT_STATUS= when the system goes
// down. Nothing of it has to be in the image but systemd 256 or newer, a shell, and a kernel with virtio_console; an older
// systemd does not know credentials that are units, and says nothing. A guest that goes down at once, such as with
// systemctl exit --force, says nothing either.
func GuestCredentials() map[string]string {
	return map[string]string{
		"mkosi.notify": guestScript,
		"systemd.extra-unit.mkosi-notify.service":          guestUnit,
		"systemd.unit-dropin.basic.target~50-mkosi-notify": guestWants,
	}
}
