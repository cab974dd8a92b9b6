package build

import (
	"os"

	"github.com/mkosi-go/mkosi/internal/config"
)

const (
	sshdPath         = "usr/sbin/sshd"
	sshGeneratorPath = "usr/lib/systemd/system-generators/systemd-ssh-generator"
)

// sshSocket lets systemd listen on port 22 of a virtual machine's VSock, and start sshd for each connection.
const sshSocket = `[Unit]
Description=VSock for mkosi ssh
ConditionVirtualization=!container
Wants=sshd-keygen.target

[Socket]
ListenStream=vsock::22
Accept=yes

[Install]
WantedBy=sockets.target
`

// sshService is one connection.
const sshService = `[Unit]
Description=Connection of mkosi ssh
After=sshd-keygen.target

[Service]
# Over a VSock sshd has no name of the other side to give to PAM, which then waits for one to be found.
ExecStart=sshd -i -o UsePAM=no
StandardInput=socket
RuntimeDirectoryPreserve=yes
RuntimeDirectory=sshd
# How sshd ends whenever the other side hangs up.
SuccessExitStatus=255
`

// writeSSHUnits does what Ssh= says: a systemd with a generator for sshd needs no units to be reached over a VSock.
func (m *image) writeSSHUnits(root *os.Root) error {
	switch m.Ssh {
	case config.SshAlways:
	case config.SshAuto:
		if !isExecutable(root, sshdPath) || exists(root, sshGeneratorPath) {
			return nil
		}
	default:
		return nil
	}
	return writeConfiguration(root, map[string]string{
		systemUnits + "/ssh.socket":                         sshSocket,
		systemUnits + "/ssh@.service":                       sshService,
		"usr/lib/systemd/system-preset/80-mkosi-ssh.preset": "enable ssh.socket\n",
	})
}

func isExecutable(root *os.Root, name string) bool {
	fi, err := root.Stat(name)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}
