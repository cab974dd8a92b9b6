package pkgmgr

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

// solution is what apt made of a request: the packages to install, downloaded
// and verified.
type solution struct {
	// Packages are in the order in which apt wants them unpacked.
	Packages []solved `json:"packages"`
	// Configure names the packages that apt wants configured before the
	// others, in this order.
	Configure []string `json:"configure"`
	// Plain tells that all of it is new packages to unpack and configure,
	// nothing to remove or upgrade, and no settings that mark packages in
	// ways of their own.
	Plain bool `json:"plain"`
}

// solved is one package of a solution.
type solved struct {
	Name         string `json:"name"`
	Architecture string `json:"architecture"`
	File         string `json:"file"` // path in the sandbox
	SHA256       string `json:"sha256"`
	// Auto tells that the package came along with others.
	Auto bool `json:"auto"`
}

// solve asks apt to choose, download and verify the packages for the request
// in the tree root ("" for an empty one), and to leave it at that.
func (a *Apt) solve(ctx context.Context, root string, request []string) (*solution, error) {
	// In the workspace, which is removed even after the build has been killed.
	tmp, err := os.MkdirTemp(a.Etc, ".solution-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for apt's plan: %w", err)
	}
	defer os.RemoveAll(tmp)
	var stdout, stderr bytes.Buffer
	err = a.aptGet(ctx, aptRun{
		args: append([]string{"install"}, request...),
		root: root,
		options: []string{
			// apt goes all the way up to running dpkg, which it only prints;
			// the hook receives what would be installed.
			"Debug::pkgDPkgPm=1",
			// It also receives apt's configuration, where the proxy's password
			// is not to be written to a file.
			"DPkg::Pre-Install-Pkgs::=grep -v ^Acquire:: >/solution/plan",
			"DPkg::Tools::Options::grep::Version=3",
			// A record of the plan that nobody reads and that takes long.
			"Dir::Log::Planner=/dev/null",
		},
		network: true,
		stdout:  &stdout,
		stderr:  &stderr,
		ops:     []sandbox.Op{sandbox.Bind(tmp, "/solution")},
	})
	if err != nil {
		return nil, err
	}
	plan, err := os.Open(filepath.Join(tmp, "plan"))
	if errors.Is(err, fs.ErrNotExist) {
		return &solution{Plain: true}, nil // nothing to do
	}
	if err != nil {
		return nil, fmt.Errorf("reading apt's plan: %w", err)
	}
	defer plan.Close()
	s, err := parsePlan(plan)
	if err != nil {
		return nil, fmt.Errorf("reading apt's plan: %w", err)
	}
	s.Configure = explicit(stderr.String())
	auto := additional(stdout.String())
	for i := range s.Packages {
		p := &s.Packages[i]
		p.Auto = auto[p.Name]
	}
	return s, a.eachArchive(ctx, s, func(p *solved, sum string) error {
		p.SHA256 = sum
		return nil
	})
}

// eachArchive calls f for every package with the digest of its file, several
// at a time.
func (a *Apt) eachArchive(ctx context.Context, s *solution, f func(p *solved, sum string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i := range s.Packages {
		p := &s.Packages[i]
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			file, err := a.hostPath(p.File)
			if err != nil {
				return err
			}
			_, sum, err := digest(file)
			if err != nil {
				return fmt.Errorf("checking package: %w", err)
			}
			return f(p, sum)
		})
	}
	return g.Wait()
}

// parsePlan reads what apt gives to a hook of version 3, apt.conf(5) under
// DPkg::Pre-Install-Pkgs: its configuration, an empty line, and a line for
// each thing to do.
func parsePlan(r io.Reader) (*solution, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	if !sc.Scan() || sc.Text() != "VERSION 3" {
		return nil, fmt.Errorf("it starts with %.40q", sc.Text())
	}
	s := &solution{Plain: true}
	for sc.Scan() && sc.Text() != "" {
		if strings.HasPrefix(sc.Text(), "APT::Never-MarkAuto-Sections::") {
			s.Plain = false
		}
	}
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) != 9 {
			return nil, fmt.Errorf("unexpected line %.80q", sc.Text())
		}
		switch action := f[8]; {
		case f[1] != "-" || action == "**REMOVE**" || action == "**ERROR**":
			s.Plain = false
		case action == "**CONFIGURE**":
		default:
			s.Packages = append(s.Packages, solved{Name: f[0], Architecture: f[6], File: action})
		}
	}
	return s, sc.Err()
}

// additional reads from apt's output which packages it added to the request.
func additional(output string) map[string]bool {
	names := map[string]bool{}
	in := false
	for line := range strings.Lines(output) {
		switch {
		case strings.HasPrefix(line, "The following additional packages will be installed:"):
			in = true
		case !strings.HasPrefix(line, "  "):
			in = false
		case in:
			for _, n := range strings.Fields(line) {
				names[n] = true
			}
		}
	}
	return names
}

// explicit reads from the dpkg commands that apt prints, on standard error,
// which packages it would configure by name.
func explicit(output string) []string {
	var names []string
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "/usr/bin/dpkg ") {
			continue
		}
		if _, args, ok := strings.Cut(line, " --configure "); ok && !strings.Contains(args, "--pending") {
			names = append(names, strings.Fields(args)...)
		}
	}
	return names
}

// remembered returns the solution of the request from the cache when nothing
// has changed that it depends on, and nil otherwise.
func (a *Apt) remembered(ctx context.Context, key string) *solution {
	if key == "" {
		return nil
	}
	text, err := os.ReadFile(a.solutionFile(key))
	if err != nil {
		return nil
	}
	s := new(solution)
	if json.Unmarshal(text, s) != nil {
		return nil
	}
	unlock, err := a.lock(ctx)
	if err != nil {
		return nil
	}
	defer unlock()
	if a.eachArchive(ctx, s, func(p *solved, sum string) error {
		if sum != p.SHA256 {
			return errors.New("the package has changed")
		}
		return nil
	}) != nil {
		return nil
	}
	return s
}

// remember keeps the solution of requests that had the key before they were
// solved, unless another build has changed since then what they depend on.
// That a solution cannot be kept is no reason to fail.
func (a *Apt) remember(ctx context.Context, key string, s *solution, requests ...[]string) {
	text, err := json.Marshal(s)
	if err != nil || key == "" {
		return
	}
	unlock, err := a.lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	file := a.solutionFile(key)
	if a.solutionKey(requests...) != key || os.MkdirAll(filepath.Dir(file), 0o755) != nil {
		return
	}
	// What a killed build leaves under this name, the next one overwrites.
	fresh := filepath.Join(filepath.Dir(file), "new")
	if os.WriteFile(fresh, text, 0o644) == nil {
		_ = os.Rename(fresh, file)
	}
}

func (a *Apt) solutionFile(key string) string {
	return filepath.Join(a.MetadataDir, "solutions", key+".json")
}

// solutionKey digests everything that apt's solution for an empty tree
// depends on: the request (one after another that build on each other), the
// options, the configuration, the repositories' indexes and apt itself. It is
// "" when that cannot be told.
func (a *Apt) solutionKey(requests ...[]string) string {
	h := sha256.New()
	fmt.Fprintln(h, "solution 3") // the format of the cache
	options, err := a.options()
	if err != nil {
		return ""
	}
	for _, o := range options {
		// What apt does with a mirror or dpkg is no part of the solution.
		if !strings.HasPrefix(o, "Acquire::") && !strings.HasPrefix(o, "DPkg::") {
			fmt.Fprintf(h, "%q\n", o)
		}
	}
	for _, r := range requests {
		fmt.Fprintf(h, "%q\n", r)
	}
	for _, dir := range []string{filepath.Join(a.Etc, "apt"), a.listsDir()} {
		if digestDir(h, dir) != nil {
			return ""
		}
	}
	if a.RepositoryDir != "" && digestFile(h, filepath.Join(a.RepositoryDir, indexFile)) != nil {
		return ""
	}
	if st, err := os.Stat("/usr/bin/apt-get"); err == nil {
		fmt.Fprintf(h, "%d %d\n", st.Size(), st.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// bigFile is the size above which a file counts with its size and time in
// place of its content. Only indexes are that big, and their digests are in
// the signed release file beside them.
const bigFile = 1 << 20

// digestDir adds the regular files below dir to the digest.
func digestDir(w io.Writer, dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if slices.Contains([]string{"lock"}, d.Name()) {
			return nil
		}
		fmt.Fprintf(w, "%q ", strings.TrimPrefix(p, dir))
		st, err := d.Info()
		if err != nil {
			return err
		}
		if st.Size() > bigFile {
			_, err := fmt.Fprintf(w, "%d %d\n", st.Size(), st.ModTime().UnixNano())
			return err
		}
		return digestFile(w, p)
	})
}

func digestFile(w io.Writer, name string) error {
	_, sum, err := digest(name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, sum)
	return err
}
