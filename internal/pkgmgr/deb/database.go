package deb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/distro/deb822"
)

// adminDir is dpkg's database in the tree.
const adminDir = "var/lib/dpkg"

// database writes dpkg's database the way that "dpkg --unpack" leaves it.
type database struct {
	root *os.Root
}

// create makes an empty database, for a tree that has none.
func (db *database) create() error {
	for _, dir := range []string{"info", "updates", "triggers", "alternatives"} {
		if err := db.root.MkdirAll(path.Join(adminDir, dir), 0o755); err != nil {
			return err
		}
	}
	return db.write("info/format", []byte("1\n"), 0o644)
}

func (db *database) write(name string, data []byte, mode os.FileMode) error {
	name = path.Join(adminDir, name)
	if err := WriteRegular(db.root, name, data, mode); err != nil {
		return err
	}
	return db.root.Chmod(name, mode)
}

// read returns the file's content, nothing when there is no such file.
func (db *database) read(name string) ([]byte, error) {
	b, err := ReadRegular(db.root, path.Join(adminDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// add appends packages to the database, as unpacked and not configured.
func (db *database) add(packages []*unpacked) error {
	status, err := db.read("status")
	if err != nil {
		return err
	}
	for _, p := range packages {
		if len(status) > 0 && !bytes.HasSuffix(status, []byte("\n\n")) {
			status = append(status, '\n')
		}
		status = append(p.stanza().AppendTo(status), '\n')
		if err := db.addInfo(p); err != nil {
			return fmt.Errorf("recording %s: %w", p.Control.Get("Package"), err)
		}
	}
	if err := db.write("status", status, 0o644); err != nil {
		return err
	}
	return db.addInterests(packages)
}

// stanza is the package's entry in the status file. dpkg puts the fields into
// its own order when it next writes the file.
func (p *unpacked) stanza() deb822.Stanza {
	var s deb822.Stanza
	for _, f := range p.Control {
		s = append(s, f)
		if strings.EqualFold(f.Name, "Package") {
			s = append(s, deb822.Field{Name: "Status", Value: "install ok unpacked"})
		}
	}
	if len(p.conffiles) > 0 {
		var b strings.Builder
		for _, c := range p.conffiles {
			b.WriteString("\n " + c)
		}
		s.Set("Conffiles", b.String())
	}
	return s
}

// name is what dpkg calls the package in file names and triggers: with the
// architecture when several architectures can be installed side by side.
func (p *unpacked) name() string {
	name := p.Control.Get("Package")
	if p.Control.Get("Multi-Arch") == "same" {
		name += ":" + p.Control.Get("Architecture")
	}
	return name
}

// addInfo writes the package's files in info.
func (db *database) addInfo(p *unpacked) error {
	prefix := "info/" + p.name() + "."
	for name, f := range p.Files {
		if err := db.write(prefix+name, f.Data, f.Mode); err != nil {
			return err
		}
		if err := db.root.Chtimes(path.Join(adminDir, prefix+name), f.ModTime, f.ModTime); err != nil {
			return err
		}
	}
	list := strings.Join(p.list, "\n") + "\n"
	if err := db.write(prefix+"list", []byte(list), 0o644); err != nil {
		return err
	}
	if p.md5 == nil {
		return nil
	}
	var sums strings.Builder
	for _, file := range p.list {
		if sum, ok := p.md5[file]; ok {
			fmt.Fprintf(&sums, "%s  %s\n", sum, file[1:])
		}
	}
	return db.write(prefix+"md5sums", []byte(sums.String()), 0o644)
}

// trigger is a line of a triggers control file, deb-triggers(5).
type trigger struct {
	verb, name string
}

func (p *unpacked) triggers() []trigger {
	var all []trigger
	for line := range strings.Lines(string(p.Files["triggers"].Data)) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) == 2 {
			all = append(all, trigger{f[0], f[1]})
		}
	}
	return all
}

// addInterests records which triggers the packages react to.
func (db *database) addInterests(packages []*unpacked) error {
	lines := map[string][]string{} // by file below triggers/
	for _, p := range packages {
		for _, t := range p.triggers() {
			who := p.name()
			switch t.verb {
			case "interest", "interest-await":
			case "interest-noawait":
				who += "/noawait"
			default:
				continue
			}
			if strings.HasPrefix(t.name, "/") {
				lines["File"] = append(lines["File"], t.name+" "+who)
			} else if validTrigger(t.name) {
				lines[t.name] = append(lines[t.name], who)
			}
		}
	}
	for file, add := range lines {
		old, err := db.read("triggers/" + file)
		if err != nil {
			return err
		}
		for _, l := range add {
			old = append(old, l+"\n"...)
		}
		if err := db.write("triggers/"+file, old, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// validTrigger reports whether name may be the name of a file in triggers.
func validTrigger(name string) bool {
	return name != "File" && name != "Unincorp" && name != "Lock" &&
		!strings.Contains(name, "/") && name != "." && name != ".."
}

// activate notes for dpkg's next run which triggers the packages activate in
// those that are configured already. dpkg itself drops what nobody waits for.
func (db *database) activate(packages []*unpacked) error {
	interests, err := db.read("triggers/File")
	if err != nil {
		return err
	}
	var dirs []string
	for line := range strings.Lines(string(interests)) {
		if f := strings.Fields(line); len(f) == 2 {
			dirs = append(dirs, f[0])
		}
	}
	active := map[string]bool{}
	for _, p := range packages {
		for _, t := range p.triggers() {
			if strings.HasPrefix(t.verb, "activate") {
				active[t.name] = true
			}
		}
		for _, dir := range dirs {
			if slices.ContainsFunc(p.list, func(f string) bool { return strings.HasPrefix(f, dir+"/") }) {
				active[dir] = true
			}
		}
	}
	if len(active) == 0 {
		return nil
	}
	names := make([]string, 0, len(active))
	for n := range active {
		names = append(names, n)
	}
	slices.Sort(names)
	pending, err := db.read("triggers/Unincorp")
	if err != nil {
		return err
	}
	for _, n := range names {
		pending = append(pending, n+" -\n"...)
	}
	return db.write("triggers/Unincorp", pending, 0o644)
}

// diversion says that a file of every package but one goes elsewhere.
type diversion struct {
	to, pkg string
}

// diversions reads dpkg's diversions, by the diverted path.
func (db *database) diversions() (map[string]diversion, error) {
	b, err := db.read("diversions")
	if err != nil {
		return nil, err
	}
	m := map[string]diversion{}
	sc := bufio.NewScanner(bytes.NewReader(b))
	for {
		var lines []string
		for len(lines) < 3 && sc.Scan() {
			lines = append(lines, sc.Text())
		}
		if len(lines) == 0 {
			return m, sc.Err()
		}
		if len(lines) < 3 || !strings.HasPrefix(lines[0], "/") || !strings.HasPrefix(lines[1], "/") {
			return nil, errors.New("dpkg's diversions are damaged")
		}
		m[lines[0]] = diversion{to: path.Clean(lines[1]), pkg: lines[2]}
	}
}

// overrides reports whether the administrator set owners or modes that
// unpacking would have to honour, dpkg-statoverride(1).
func (db *database) overrides() (bool, error) {
	b, err := db.read("statoverride")
	return len(bytes.TrimSpace(b)) > 0, err
}
