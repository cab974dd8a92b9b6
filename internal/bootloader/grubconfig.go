package bootloader

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// GrubMenus is what grub offers to start.
type GrubMenus struct {
	// EFI and BIOS are the menus by the firmware that started grub. The first entry of a menu is the default. Unified
	// kernel images in BIOS are left out.
	EFI, BIOS []Entry
	// RootOption is an option for the command line of kernels that grub loads, such as "root=PARTUUID=...". A kernel that
	// systemd-boot or a stub started needs none: these tell the system which disk they come from.
	RootOption string
	// Search has grub look for each entry on all partitions. Without, it takes them to be on the one with its configuration.
	Search bool
}

// WriteGrubConfig writes the configuration of grub into /efi of the tree. Its menu is not shown for longer than a key has
// to be held down.
func WriteGrubConfig(root string, menus GrubMenus) error {
	i, err := openImage(root)
	if err != nil {
		return err
	}
	defer i.close()
	return i.write("efi"+grubPrefix+"/grub.cfg", []byte(menus.config()), 0o600)
}

// config is the configuration of grub.
func (m GrubMenus) config() string {
	const platform = `"${grub_platform}" == `
	var b strings.Builder
	b.WriteString("set timeout=0\n")
	// PC firmware starts no unified kernel images.
	m.BIOS = slices.DeleteFunc(slices.Clone(m.BIOS), func(e Entry) bool { return e.UKI != "" })
	if reflect.DeepEqual(m.EFI, m.BIOS) {
		m.writeMenu(&b, platform+`"efi" -o `+platform+`"pc"`, m.EFI)
	} else {
		m.writeMenu(&b, platform+`"efi"`, m.EFI)
		m.writeMenu(&b, platform+`"pc"`, m.BIOS)
	}
	return b.String()
}

// writeMenu writes the entries that are there under a condition.
func (m GrubMenus) writeMenu(b *strings.Builder, condition string, entries []Entry) {
	if len(entries) == 0 {
		return
	}
	fmt.Fprintf(b, "if [ %s ]; then\n", condition)
	for _, e := range entries {
		if m.RootOption != "" && !slices.Contains(strings.Fields(e.Options), m.RootOption) {
			e.Options = strings.TrimSuffix(m.RootOption+" "+e.Options, " ")
		}
		e.writeGrub(b, m.Search)
	}
	b.WriteString("fi\n")
}

// writeGrub writes an entry of a menu.
func (e Entry) writeGrub(b *strings.Builder, search bool) {
	fmt.Fprintf(b, "menuentry %s {\n", grubQuoted(e.ID))
	if search {
		fmt.Fprintf(b, "    search --no-floppy --set=root --file %s\n", grubWord(e.UKI+e.Linux)) // one of them is empty
	}
	if e.UKI != "" {
		fmt.Fprintf(b, "    chainloader %s\n", grubWord(e.UKI))
	} else {
		fmt.Fprintf(b, "    linux %s %s\n", grubWord(e.Linux), grubWords(e.Options))
		if len(e.Initrds) > 0 {
			b.WriteString("    initrd")
			for _, initrd := range e.Initrds {
				b.WriteString(" " + grubWord(initrd))
			}
			b.WriteString("\n")
		}
		if e.Devicetree != "" {
			fmt.Fprintf(b, "    devicetree %s\n", grubWord(e.Devicetree))
		}
	}
	b.WriteString("}\n")
}

// grubQuoted writes a text as one word in double quotes. In these, grub's language knows variables and escapes only.
func grubQuoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(s) + `"`
}

// grubSpecial are the characters that mean something in grub's language outside of quotes, quotes themselves aside.
const grubSpecial = "\\$;&|<>{}#'*?"

// grubWord writes a text as one word.
func grubWord(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(grubSpecial+"\" \t", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// grubWords writes a kernel command line so that the kernel gets it as it is. Both the kernel and grub take double
// quotes to hold words together, and grub adds those that the kernel needs.
func grubWords(s string) string {
	var b strings.Builder
	quoted := false
	for _, r := range s {
		special := grubSpecial
		if r == '"' {
			quoted = !quoted
		}
		if quoted {
			special = `\$`
		}
		if strings.ContainsRune(special, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
