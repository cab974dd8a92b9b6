package config

import (
	"path/filepath"
	"strings"
)

// OutputName returns the file name of the image's output: name, extension
// and the extension of the compression where the whole file is compressed.
func (img *Image) OutputName() string {
	name := img.UncompressedName()
	if ext := img.CompressOutput.Extension(); ext != "" && img.compressesFile() {
		name += "." + ext
	}
	return name
}

// UncompressedName returns the file name of the output before compression.
func (img *Image) UncompressedName() string {
	if img.OutputExtension == "" {
		return img.Output
	}
	return img.Output + "." + img.OutputExtension
}

// SymlinkName returns the name of the symbolic link that points at
// OutputName, which is the output without any extension, or "" when the
// output has no extension and so needs no link.
func (img *Image) SymlinkName() string {
	if img.OutputName() == img.Output {
		return ""
	}
	return img.Output
}

// compressesFile reports whether CompressOutput= applies to the output file
// itself. In a unified kernel image and an ESP it applies to the initrd
// within, in an OCI layout to the layers.
func (img *Image) compressesFile() bool {
	switch img.Format {
	case FormatUKI, FormatESP, FormatAddon, FormatOCI, FormatDirectory, FormatNone:
		return false
	}
	return true
}

// OutputDir returns the directory of the outputs: OutputDirectory=, or dir,
// the directory of the configuration.
func (img *Image) OutputDir(dir string) string {
	if img.OutputDirectory != "" {
		return img.OutputDirectory
	}
	return dir
}

// OutputPath returns the path of the image's output, see OutputName.
func (img *Image) OutputPath(dir string) string {
	return filepath.Join(img.OutputDir(dir), img.OutputName())
}

// SplitName returns the file name of an artifact that is written beside the
// output, such as "image.roothash" for the suffix "roothash".
func (img *Image) SplitName(suffix string) string { return img.Output + "." + suffix }

// BuildSubdirectory returns the directory within BuildDirectory= that is
// this image's, or "" without a build directory.
func (img *Image) BuildSubdirectory() string {
	if img.BuildDirectory == "" {
		return ""
	}
	key := img.ExpandKey(img.BuildKey)
	if key == "-" {
		return img.BuildDirectory
	}
	return filepath.Join(img.BuildDirectory, key)
}

// ExpandKey replaces the delayed specifiers, such as &d, in the value of
// CacheKey= or BuildKey=. Unknown letters stand for nothing; an ampersand
// before anything else is one.
func (img *Image) ExpandKey(key string) string {
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		if key[i] != '&' || i+1 == len(key) || key[i+1] != '&' && !isAlpha(key[i+1]) {
			b.WriteByte(key[i])
			continue
		}
		i++
		switch key[i] {
		case '&':
			b.WriteByte('&')
		case 'd':
			b.WriteString(string(img.Distribution))
		case 'r':
			b.WriteString(img.Release)
		case 'a':
			b.WriteString(string(img.Architecture))
		case 'i':
			b.WriteString(img.ImageId)
		case 'v':
			b.WriteString(img.ImageVersion)
		case 'I':
			b.WriteString(img.Image)
		}
	}
	return b.String()
}
