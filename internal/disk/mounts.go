package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// maxTable limits the size of an fstab(5) that is there already, in bytes.
const maxTable = 1 << 20

// generateTables makes the fstab(5) and crypttab(5) that the definitions ask
// for. They replace what the tree has of them in the partitions that it is
// copied to; the tree itself stays as it is.
func (b *builder) generateTables() error {
	var mounted []repart.Mounted
	for _, p := range b.parts {
		m := repart.Mounted{Definition: p.def, FileSystem: FileSystemUUID(p.derived), LUKS: LUKSUUID(p.derived)}
		if v := p.def.EncryptedVolume; p.volume != nil && v != nil {
			m.VolumeKeyHash = p.volume.VolumeKeyHash(cmp.Or(v.Name, "luks-"+m.LUKS.String()))
		}
		mounted = append(mounted, m)
	}
	if b.GenerateFstab != "" {
		text, err := b.mergeFstab(repart.Fstab(mounted))
		if err != nil {
			return fmt.Errorf("generating %s: %w", b.GenerateFstab, err)
		}
		b.generated = appendFile(b.generated, b.GenerateFstab, text)
	}
	if b.GenerateCrypttab != "" {
		text, err := repart.Crypttab(mounted)
		if err != nil {
			return fmt.Errorf("generating %s: %w", b.GenerateCrypttab, err)
		}
		b.generated = appendFile(b.generated, b.GenerateCrypttab, text)
	}
	return nil
}

// appendFile adds a file unless there is nothing in it.
func appendFile(files []content.File, path, text string) []content.File {
	if text == "" {
		return files
	}
	return append(files, content.File{Path: path, Content: []byte(text)})
}

// mergeFstab adds generated lines to the fstab that is there, as AppendFstab
// says.
func (b *builder) mergeFstab(section string) (string, error) {
	if section == "" || b.AppendFstab == "replace" {
		return section, nil
	}
	root, err := os.OpenRoot(b.Root)
	if err != nil {
		return "", err
	}
	defer root.Close()
	f, err := root.Open(strings.TrimPrefix(b.GenerateFstab, "/"))
	if errors.Is(err, fs.ErrNotExist) {
		return section, nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if b.AppendFstab != "auto" {
		return "", errors.New("the tree has one already")
	}
	old, err := io.ReadAll(io.LimitReader(f, maxTable+1))
	if err != nil {
		return "", err
	}
	if len(old) > maxTable {
		return "", fmt.Errorf("the one that is there is larger than %d bytes", maxTable)
	}
	return repart.MergeFstab(string(old), section), nil
}

// generatedFor are the generated files that come to lie in a partition, by the
// last of the copies that their place in the tree is part of.
func (b *builder) generatedFor(d *repart.Definition) []content.File {
	var files []content.File
	for _, g := range b.generated {
		for _, c := range d.CopyFiles {
			rest, ok := strings.CutPrefix(g.Path, strings.TrimSuffix(c.Source, "/")+"/")
			if ok {
				files = append(files, content.File{Path: path.Join(c.Target, rest), Content: g.Content})
			}
		}
	}
	return files
}
