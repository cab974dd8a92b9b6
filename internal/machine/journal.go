package machine

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// journalPort is the port of the virtual serial bus that the journal comes over.
const journalPort = "io.mkosi.journal"

var (
	//go:embed guest/journal.sh
	journalScript string
	//go:embed guest/mkosi-journal.service
	journalUnit string
	//go:embed guest/wants.conf
	journalWants string
)

// planJournal has the guest send its journal, and finds the program that writes it. A unit that the guest gets sends it
// over the virtual serial bus, which every host has; it needs systemd 256 in the guest, as systemd's own way does.
func (m *Machine) planJournal() error {
	if m.img.ForwardJournal == "" {
		return nil
	}
	var err error
	if m.journal, err = m.tools.find("systemd-journal-remote"); err != nil {
		return m.missing(softwareJournal, err)
	}
	m.AddCredential("mkosi.journal", journalScript)
	m.AddCredential("systemd.extra-unit.mkosi-journal.service", journalUnit)
	m.AddCredential("systemd.unit-dropin.basic.target~50-mkosi-journal", journalWants)
	return checkJournal(m.img)
}

// journalFile is where the journal goes: the file of ForwardJournal=, or one in its directory.
func journalFile(setting string) string {
	if strings.HasSuffix(setting, ".journal") {
		return setting
	}
	return filepath.Join(setting, "remote.journal")
}

// writeJournal writes what comes from the guest, which is checked and cut to size by the program that writes it.
func (r *running) writeJournal(conn net.Conn) {
	m := r.m
	file := journalFile(m.img.ForwardJournal)
	dir := filepath.Dir(file)
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		cmd := m.tools.narrow([]string{m.journal, "--split-mode=none", "--output=" + file, "-"}, sandbox.Bind(dir, dir))
		cmd.DropCapabilities = sandbox.HostCapabilities()
		cmd.Stdin = conn
		err = r.command(r.ctx, cmd)
	}
	if err != nil && r.ctx.Err() == nil {
		m.opts.UI.Warnf(m.img.Image, "the journal of the guest is not written: %v", err)
	}
}

// checkJournal refuses a directory where a file should be, and the other way round.
func checkJournal(img *config.Image) error {
	file := journalFile(img.ForwardJournal)
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("ForwardJournal=: %s is no regular file", file)
	}
	if info, err := os.Stat(filepath.Dir(file)); err == nil && !info.IsDir() {
		return errors.New("ForwardJournal=: " + filepath.Dir(file) + " is no directory")
	}
	return nil
}
