//go:build integration

package test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// extension begins the configuration of an extension that adds a file to the small tree.
func extension(format, more string) string {
	return "[Output]\nFormat=" + format + "\nOverlay=yes\n" + more + "\n[Content]\nBaseTrees=@SMALL@\n"
}

// standalone begins that of an extension of nothing in particular.
func standalone(format string) string { return "[Output]\nFormat=" + format + "\n[Content]\n" }

// addition are files for /usr, /etc and elsewhere.
func addition() map[string]string {
	return map[string]string{
		"mkosi.extra/usr/bin/tool":   "#!/bin/sh\n",
		"mkosi.extra/usr/lib/x/new":  "new\n",
		"mkosi.extra/etc/x/new.conf": "new\n",
		"mkosi.extra/opt/x/new":      "new\n",
		"mkosi.extra/srv/x/new":      "neither in /usr nor in /opt nor in /etc\n",
	}
}

// extensionImages are the extensions that build with keys and without.
func extensionImages() map[string]stepsImage {
	images := map[string]stepsImage{}
	for _, format := range []string{"sysext", "confext"} {
		for _, verity := range []string{"hash", "defer", "no", "auto"} {
			images[format+"-"+verity] = stepsImage{
				conf:  extension(format, "") + "[Validation]\nVerity=" + verity + "\n",
				files: addition(), output: format + "-" + verity + ".raw",
			}
		}
	}
	return images
}

// What Verity= means without keys.
func TestStepsExtension(t *testing.T) {
	t.Parallel()
	s := &steps{universal: "[Output]\nOutputDirectory=mkosi.output\n", images: extensionImages()}
	s.run(t)
}

// What it means with keys, and everything else about extensions.
func TestStepsSignedExtension(t *testing.T) {
	t.Parallel()
	s := &steps{
		universal: "[Output]\nOutputDirectory=mkosi.output\n",
		images:    extensionImages(),
		setup: func(t *testing.T, dir string) {
			for _, key := range []string{"mkosi.key", "mkosi.crt"} {
				writeFile(t, filepath.Join(dir, key), readFile(t, filepath.Join(tutorialDir(t), key)), map[string]os.FileMode{"mkosi.key": 0o600, "mkosi.crt": 0o644}[key])
			}
		},
	}
	add := func(name string, image stepsImage) {
		if image.files == nil {
			image.files = addition()
		}
		image.output = cmpOr(image.output, name+".raw")
		s.images[name] = image
	}
	for _, format := range []string{"sysext", "confext"} {
		add(format+"-signed", stepsImage{conf: extension(format, "") + "[Validation]\nVerity=signed\n"})
		add(format+"-alone", stepsImage{conf: standalone(format)})
		add(format+"-scope", stepsImage{conf: standalone(format) + "[Build]\nEnvironment=SYSEXT_SCOPE=system CONFEXT_SCOPE=portable\n"})
		add(format+"-whole", stepsImage{conf: "[Output]\nFormat=" + format + "\n[Content]\nBaseTrees=@SMALL@\n"})
		add(format+"-named", stepsImage{
			conf:   extension(format, "ImageId=thing\nImageVersion=1.2.3"),
			output: format + "-named_1.2.3.raw",
		})
		add(format+"-output", stepsImage{
			conf:   extension(format, "Output="+format+"-chosen\nImageId=thing\nImageVersion=4\nOutputExtension=img"),
			output: format + "-chosen.img",
		})
	}
	existing := addition()
	const release = "usr/lib/extension-release.d/extension-release.existing-release"
	existing["mkosi.extra/"+release] = "# a comment\nID=_any\nSYSEXT_LEVEL=2\nSYSEXT_SCOPE=initrd\n"
	add("existing-release", stepsImage{
		conf: extension("sysext", ""), files: existing,
		allowed: []allowance{{release, "size", "the reference drops comments and quotes of a file that is there already"}},
		check:   func(t *testing.T, theirs, ours string) { sameLines(t, theirs, ours, release) },
	})
	other := addition()
	other["mkosi.extra/usr/lib/extension-release.d/extension-release.something"] = "ID=something\n"
	add("other-release", stepsImage{conf: extension("sysext", "ImageId=id"), files: other})
	// An image with systemd learns to trust the certificate.
	s.images["trust"] = stepsImage{conf: onBase, check: func(t *testing.T, _, ours string) {
		if !bytes.Equal(readFile(t, filepath.Join(ours, "usr/lib/verity.d/mkosi.crt")), readFile(t, filepath.Join(tutorialDir(t), "mkosi.crt"))) {
			t.Error("the certificate in the image is not mkosi.crt")
		}
	}}
	s.run(t)
}
