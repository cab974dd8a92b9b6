//go:build integration

package test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Formats, what they do to the package manager's data, compression and names.
func TestStepsOutput(t *testing.T) {
	t.Parallel()
	s := &steps{
		universal: "[Output]\nOutputDirectory=mkosi.output\n",
		images: map[string]stepsImage{
			"level":         {conf: "[Output]\nFormat=cpio\nCompressLevel=15\n[Content]\nBaseTrees=@SMALL@\n", output: "level.cpio.zst"},
			"uncompressed":  {conf: "[Output]\nFormat=cpio\nCompressOutput=no\n[Content]\nBaseTrees=@SMALL@\n", output: "uncompressed.cpio"},
			"extension":     {conf: "[Output]\nFormat=cpio\nOutputExtension=img\n[Content]\nBaseTrees=@SMALL@\n", output: "extension.img.zst"},
			"no-extension":  {conf: "[Output]\nFormat=cpio\nOutputExtension=\nCompressOutput=no\n[Content]\nBaseTrees=@SMALL@\n"},
			"dir-extension": {conf: "[Output]\nOutputExtension=d\n" + onSmall, output: "dir-extension.d"},
			"versioned":     {conf: "[Output]\nFormat=cpio\nImageId=thing\nImageVersion=7\n[Content]\nBaseTrees=@SMALL@\n", output: "versioned_7.cpio.zst"},
			"named":         {conf: "[Output]\nFormat=cpio\nOutput=chosen\nImageVersion=7\n[Content]\nBaseTrees=@SMALL@\n", output: "chosen.cpio.zst"},
			"changes":       {conf: "[Output]\nOverlay=yes\n" + onSmall, files: map[string]string{"mkosi.extra/lib/x/new": "new\n", "mkosi.extra/usr/lib/x/already": "changed\n"}},
			"changes-cpio": {conf: "[Output]\nFormat=cpio\nOverlay=yes\n[Content]\nBaseTrees=@SMALL@\n", output: "changes-cpio.cpio.zst",
				files: map[string]string{"mkosi.extra/lib/x/new": "new\n", "mkosi.extra/usr/lib/x/already": "changed\n"}},
		},
	}
	for _, clean := range []string{"yes", "no", "auto"} {
		for format, extension := range map[string]string{"directory": "", "cpio": ".cpio.zst", "disk": ".raw"} {
			for tools, files := range map[string]map[string]string{
				"with":    {"mkosi.extra/usr/bin/apt": "apt", "mkosi.extra/usr/bin/apt-get": "apt", "mkosi.extra/usr/bin/dpkg": "dpkg"},
				"without": nil,
			} {
				image := stepsImage{
					conf:  "[Output]\nFormat=" + format + "\n[Content]\nBootable=no\nCleanPackageMetadata=" + clean + "\nBaseTrees=@SMALL@\n",
					files: files,
				}
				name := format + "-" + clean + "-" + tools
				image.output = name + extension
				s.images[name] = image
			}
		}
	}
	s.setup = func(t *testing.T, dir string) {
		for name, image := range s.images {
			for file := range image.files {
				if strings.HasPrefix(file, "mkosi.extra/usr/bin/") {
					if err := os.Chmod(filepath.Join(dir, "mkosi.images", name, file), 0o755); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	s.run(t)
}

// A whole system as a disk: the root file system holds what the tree does.
func TestStepsDisk(t *testing.T) {
	t.Parallel()
	s := &steps{
		universal: "[Output]\nOutputDirectory=mkosi.output\n",
		images:    map[string]stepsImage{"system": {conf: "[Output]\nFormat=disk\n[Content]\nBootable=no\nBaseTrees=@BASE@\n", output: "system.raw"}},
	}
	s.run(t)
}

// Where outputs go, and how they are called and may be accessed, is the whole configuration's business; each case is
// one of its own, with one image, and both have to leave the same names behind.
func TestStepsPlaces(t *testing.T) {
	mirror, err := hostMirror()
	if err != nil {
		t.Fatal(err)
	}
	cpio := "[Output]\nFormat=cpio\n"
	for name, c := range map[string]struct {
		conf  string
		files map[string]string
		dirs  []string
		args  []string
	}{
		"default":           {conf: cpio},
		"mkosi.output":      {conf: cpio, dirs: []string{"mkosi.output"}},
		"OutputDirectory":   {conf: cpio + "OutputDirectory=new/directory\n"},
		"Output":            {conf: cpio + "Output=chosen\n"},
		"ImageId":           {conf: cpio + "ImageId=thing\n"},
		"ImageVersion":      {conf: cpio + "ImageVersion=3\n"},
		"mkosi.version":     {conf: cpio + "ImageId=thing\n", files: map[string]string{"mkosi.version": "5.1\n"}},
		"OutputMode file":   {conf: cpio + "OutputMode=0640\n"},
		"OutputMode tree":   {conf: "[Output]\nFormat=directory\nOutputMode=0700\n"},
		"OutputMode disk":   {conf: "[Output]\nFormat=disk\nOutputMode=600\n[Content]\nBootable=no\n"},
		"OutputMode sysext": {conf: "[Output]\nFormat=sysext\nOverlay=yes\nOutputMode=0444\n"},
		"Workspace":         {conf: cpio + "[Build]\nWorkspaceDirectory=../workspace\n", dirs: []string{"../workspace"}},
		"none":              {conf: "[Output]\nFormat=none\n"},
		"none and output":   {conf: "[Output]\nFormat=none\nOutputDirectory=out\n", dirs: []string{"out"}},
		"option":            {conf: cpio, args: []string{"--output", "other", "--output-directory", "there", "--image-version", "9"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top, err := os.MkdirTemp(sharedDir, "places-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(top) })
			lists := map[string][]string{}
			for _, side := range []string{"theirs", "ours"} {
				dir := filepath.Join(top, side)
				for _, d := range c.dirs {
					if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				for file, content := range c.files {
					writeFile(t, filepath.Join(dir, file), []byte(content), 0o644)
				}
				conf, distribution := c.conf, "Distribution=debian\nRelease=trixie\n"
				if side == "theirs" {
					// It fetches the metadata of a distribution for each, and these trees need none.
					conf, distribution = strings.ReplaceAll(conf, "Format=disk\n", diskForReference), "Distribution=custom\n"
				}
				conf = "[Distribution]\n" + distribution + "[Content]\nBaseTrees=" + smallTree(t) + "\n" + conf
				writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte(conf), 0o644)
				args := append([]string{"--force", "--local-mirror", mirror}, c.args...)
				cmd := mkosi(dir, args...)
				if side == "theirs" {
					cmd = reference(sharedDir, append([]string{"mkosi", "-C", dir}, args...)...)
				}
				must(t, cmd)
				lists[side] = left(t, dir)
				if workspace := left(t, top+"/workspace"); len(workspace) > 0 {
					t.Errorf("%s left in the workspace: %v", side, workspace)
				}
			}
			if diff := cmp.Diff(lists["theirs"], lists["ours"]); diff != "" {
				t.Errorf("the reference leaves (-) and mkosi leaves (+):\n%s", diff)
			}
		})
	}
}

// left lists what lies in a directory, if it is there: names, modes and what links point to. What is inside of a tree
// that was built is not listed.
func left(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path == dir || err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path)
		list = append(list, fmt.Sprintf("%s %v %s", strings.TrimPrefix(path, dir), fi.Mode(), target))
		if d.IsDir() && d.Name() == "image" {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return list
}
