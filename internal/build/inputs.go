package build

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/mkosi-go/mkosi/internal/cache"
	"github.com/mkosi-go/mkosi/internal/config"
)

// systemInputs lists everything that goes into the layer with the system, by the names that the user knows.
func (m *image) systemInputs(ctx context.Context) (cache.Inputs, error) {
	var in cache.Inputs
	in.AddText("Distribution=", string(m.Distribution))
	in.AddText("Release=", m.Release)
	in.AddText("Architecture=", string(m.Architecture))
	in.AddText("Format=", baseOfFormat(m.Format))
	addURL(&in, "Mirror=", m.Mirror)
	addURL(&in, "LocalMirror=", m.LocalMirror)
	in.AddText("Snapshot=", m.Snapshot)
	in.AddList("Repositories=", m.Repositories)
	in.AddText("RepositoryKeyCheck=", fmt.Sprint(m.RepositoryKeyCheck))
	in.AddList("Packages=", m.Packages)
	in.AddText("WithRecommends=", fmt.Sprint(m.WithRecommends))
	in.AddText("WithDocs=", fmt.Sprint(m.WithDocs))
	in.AddText("SourceDateEpoch=", epoch(m.SourceDateEpoch))
	in.AddList("ExtraSearchPaths=", m.ExtraSearchPaths)
	in.AddText("Overlay=", fmt.Sprint(m.Overlay))
	in.AddText("user namespace", userNamespace())
	for _, add := range []func(context.Context, *cache.Inputs) error{m.addEnvironment, m.addTrees, m.addPrepareScripts, m.addMetadata} {
		if err := add(ctx, &in); err != nil {
			return nil, fmt.Errorf("finding out whether the cached image is current: %w", err)
		}
	}
	return in, nil
}

// buildInputs lists everything that goes into the layer with the build packages. system is the ID of the layer below.
func (m *image) buildInputs(ctx context.Context, system string) (cache.Inputs, error) {
	var in cache.Inputs
	in.AddSecret("the cached image below", system)
	in.AddList("BuildPackages=", m.BuildPackages)
	if err := m.addPrepareScripts(ctx, &in); err != nil {
		return nil, fmt.Errorf("finding out whether the cached build packages are current: %w", err)
	}
	return in, nil
}

// addURL adds a URL, which must not be shown if it has a password.
func addURL(in *cache.Inputs, name, url string) {
	if strings.Contains(url, "@") {
		in.AddSecret(name, url)
		return
	}
	in.AddText(name, url)
}

// baseOfFormat is what the format has to say about the system: nothing but whether it is one.
func baseOfFormat(f config.Format) string {
	if isExtension(f) {
		return "extension"
	}
	return "system"
}

func epoch(seconds *int64) string {
	if seconds == nil {
		return ""
	}
	return fmt.Sprint(*seconds)
}

// userNamespace tells the users of one user namespace from those of another: files in the cache belong to them.
func userNamespace() string {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// addEnvironment adds the variables that package managers and scripts get. Their values may be secrets.
func (m *image) addEnvironment(_ context.Context, in *cache.Inputs) error {
	env, err := m.ReadEnvironment()
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(env) {
		in.AddSecret("Environment="+name, env[name])
	}
	return nil
}

// addTrees adds the content of all trees and packages of this machine that the system is made of.
func (m *image) addTrees(ctx context.Context, in *cache.Inputs) error {
	for _, group := range []struct {
		setting string
		owners  bool
		trees   []config.Tree
	}{
		{"BaseTrees=", true, plainTrees(m.BaseTrees)},
		{"SkeletonTrees=", false, m.SkeletonTrees},
		{"SandboxTrees=", false, m.SandboxTrees},
		{"PackageDirectories=", false, plainTrees(m.PackageDirectories)},
	} {
		for _, t := range group.trees {
			name := group.setting + m.shown(t.Source)
			if t.Target != "" {
				name += ":" + t.Target
			}
			source, err := m.b.sourcePath(t.Source)
			if err != nil {
				return err
			}
			if err := m.addFiles(ctx, in, name, source, group.owners); err != nil {
				return err
			}
		}
	}
	return nil
}

func plainTrees(paths []string) []config.Tree {
	var trees []config.Tree
	for _, p := range paths {
		trees = append(trees, config.Tree{Source: p})
	}
	return trees
}

// addPrepareScripts adds the prepare scripts, and what they learn about the image beyond what is listed anyway.
func (m *image) addPrepareScripts(ctx context.Context, in *cache.Inputs) error {
	for _, path := range m.PrepareScripts {
		if err := m.addFiles(ctx, in, "PrepareScripts="+m.shown(path), path, false); err != nil {
			return err
		}
	}
	if len(m.PrepareScripts) == 0 {
		return nil
	}
	in.AddText("ImageId=", m.ImageId)
	in.AddText("ImageVersion=", m.ImageVersion)
	in.AddList("Profiles=", m.Profiles)
	in.AddText("WithTests=", fmt.Sprint(m.WithTests))
	in.AddText("WithNetwork=", fmt.Sprint(m.WithNetwork))
	return nil
}

// addMetadata adds what the repositories have to offer, as far as is known here.
func (m *image) addMetadata(ctx context.Context, in *cache.Inputs) error {
	if !m.usesPackages() {
		return nil
	}
	apt, err := m.preparedPackageManager(ctx)
	if err != nil {
		return err
	}
	digest, err := apt.MetadataDigest()
	if err != nil {
		return err
	}
	in.AddSecret("package metadata", digest) // whose digits would tell nobody anything
	return nil
}

// usesPackages reports whether the layers that are kept hold packages, or scripts may install some there.
func (m *image) usesPackages() bool {
	return installsPackages(m.Image) || len(m.PrepareScripts) > 0 || m.builds() && len(m.BuildPackages) > 0
}

func (m *image) addFiles(ctx context.Context, in *cache.Inputs, name, path string, owners bool) error {
	f, err := m.fingerprint(ctx, path, owners)
	if err != nil {
		return err
	}
	in.AddFiles(name, f)
	return nil
}
