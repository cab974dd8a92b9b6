package script

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

var update = flag.Bool("update", false, "rewrite testdata/environment")

// fullView is a view in which every variable has a value. Nothing in it exists.
func fullView() *View {
	epoch := int64(1234)
	return &View{
		Image: &config.Image{
			Distribution: "debian", Release: "trixie", Architecture: "x86-64", Profiles: []string{"pa", "pb"},
			ImageId: "id", ImageVersion: "7", SourceDateEpoch: &epoch, WithDocs: true, WithTests: true,
			Environment:      map[string]string{"FOO": "bar", "PATH": "/not/this", "RELEASE": "mine"},
			ExtraSearchPaths: []string{"/opt/tools"},
			ProxyUrl:         "http://proxy.example:3128/", ProxyExclude: []string{"a.example", "b.example"},
			ProxyPeerCertificate: "/ca.pem", ProxyClientCertificate: "/cert.pem", ProxyClientKey: "/key.pem",
		},
		Config: []byte("{}"), UID: 1000, GID: 100, Debug: true, Cached: true,
		Root: "/r", ArtifactDir: "/a", PackageDir: "/p", OutputDir: "/o", BuildDir: "/b", DestDir: "/d",
		Tools: &pkgmgr.Tools{},
	}
}

// TestEnvironment compares the environment of all kinds with what mkosi 27.1 gives them, as far as
// docs/differences.md does not say otherwise; test/script_test.go compares with mkosi 27.1 itself.
func TestEnvironment(t *testing.T) {
	var got bytes.Buffer
	for _, kind := range every {
		env, err := fullView().environment(kind)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "[%s]\n%s\n\n", kind, strings.Join(env, "\n"))
	}
	const file = "testdata/environment"
	if *update {
		write(t, file, got.String(), 0o644)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestUnsetVariables(t *testing.T) {
	v := &View{Image: &config.Image{Distribution: "custom", Architecture: "alpha"}, Root: "/r"}
	for _, kind := range every {
		env, err := v.environment(kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range env {
			name, value, _ := strings.Cut(e, "=")
			if value == "" {
				t.Errorf("%s: %s is empty, not unset", kind, name)
			}
			switch name {
			case "BUILDDIR", "CHROOT_BUILDDIR", "PROFILES", "EFI_ARCHITECTURE", "IMAGE_ID", "SOURCE_DATE_EPOCH", "SSH_AUTH_SOCK", "http_proxy", "GIT_CONFIG_COUNT":
				t.Errorf("%s: %s is set", kind, e)
			}
		}
	}
}

// A user's settings of git stay, and those for the proxy come after them.
func TestGitSettingsAreCountedOn(t *testing.T) {
	v := fullView()
	v.Image.Environment = map[string]string{"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"}
	env, err := v.environment(Sync)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range env {
		if strings.HasPrefix(e, "GIT_CONFIG_") {
			got = append(got, e)
		}
	}
	want := []string{
		"GIT_CONFIG_COUNT=3", "GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_KEY_1=http.proxy", "GIT_CONFIG_KEY_2=https.proxy",
		"GIT_CONFIG_VALUE_0=c", "GIT_CONFIG_VALUE_1=http://proxy.example:3128/", "GIT_CONFIG_VALUE_2=http://proxy.example:3128/",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The proxy's files, one of them secret, are there for scripts with the network only.
func TestProxyNeedsNetwork(t *testing.T) {
	v := fullView()
	for _, kind := range every {
		var shown bool
		for _, op := range v.systemOps(kind) {
			shown = shown || op.String() == sandbox.BindReadOnly("/key.pem", "/proxy.clientkey").String()
		}
		env, err := v.environment(kind)
		if err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(strings.Join(env, "\n"), "proxy"); told != kind.Network(v.Image) || shown != told {
			t.Errorf("%s: told of the proxy: %t, key: %t", kind, told, shown)
		}
	}
}

func TestSSHAgent(t *testing.T) {
	v := fullView()
	dir := t.TempDir()
	v.HostEnv = map[string]string{"SSH_AUTH_SOCK": filepath.Join(dir, "absent"), "HOME": dir}
	if agent := v.sshAgent(); agent != "" {
		t.Errorf("the agent %s does not exist", agent)
	}
	v.HostEnv["SSH_AUTH_SOCK"] = "relative"
	if agent := v.sshAgent(); agent != "" {
		t.Errorf("got %s", agent)
	}
	socket := listen(t)
	v = newView(t)
	v.HostEnv = map[string]string{"SSH_AUTH_SOCK": socket}
	const text = "#!/bin/sh\necho $SSH_AUTH_SOCK; test -S \"$SSH_AUTH_SOCK\" && echo socket; exit 0\n"
	if out, err := runScript(t, v, Sync, "mkosi.sync", text); err != nil || out != sshSocket+"\nsocket\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if out, err := runScript(t, v, Clean, "mkosi.clean", text); err != nil || out != "\n" {
		t.Errorf("a clean script gets %q, %v", out, err)
	}
}
