package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/disktest"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// The tables that were stored are those that systemd-repart 262 wrote, see
// TestRepartSets of the integration tests.
func TestRepartSets(t *testing.T) {
	sets, err := disktest.Load("testdata/repart")
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) < 60 {
		t.Errorf("only %d sets", len(sets))
	}
	keyPEM, certPEM, err := keys.Generate(keys.GenerateOptions{CommonName: "test", ValidDays: 1, Now: time.Unix(1700000000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	signing := Options{}
	if signing.Key, err = keys.ParseKey(keyPEM); err != nil {
		t.Fatal(err)
	}
	if signing.Certificate, err = keys.ParseCertificate(certPEM); err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := s.Write(dir); err != nil {
				t.Fatal(err)
			}
			image := filepath.Join(dir, "image")
			got, buildErr := disktest.Fails, error(nil)
			for i := 0; i < len(s.Runs) && buildErr == nil; i++ {
				o := signing
				o.Path = image
				buildErr = buildRun(t, o, s.Runs[i], disktest.Definitions(dir, i), i > 0)
			}
			if buildErr == nil {
				if got, err = disktest.Describe(image); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(s.Expected(), got); diff != "" {
				t.Errorf("systemd-repart (-) and ours (+), %v:\n%s", buildErr, diff)
			}
		})
	}
}

// buildRun does one run of a set.
func buildRun(t *testing.T, o Options, r disktest.Run, definitions string, existing bool) (err error) {
	t.Helper()
	o.Seed, o.Existing, o.Root = uuid.MustParse(disktest.Seed), existing, filepath.Dir(definitions)
	if existing {
		fi, err := os.Stat(o.Path)
		if err != nil {
			t.Fatal(err)
		}
		o.Size = fi.Size()
	}
	for _, option := range r.Options {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "size":
			o.Size = setSize(t, value)
		case "sector-size":
			o.SectorSize = int(setSize(t, value))
		case "grain-size":
			o.GrainSize = setSize(t, value)
		case "defer-partitions":
			o.Defer = strings.Split(value, ",")
		case "include-partitions":
			o.Include = strings.Split(value, ",")
		case "exclude-partitions":
			o.Exclude = strings.Split(value, ",")
		case "defer-partitions-empty":
			o.DeferEmpty = value == "yes"
		case "defer-partitions-factory-reset":
			o.DeferFactoryReset = value == "yes"
		default:
			t.Fatalf("option %s is not known here", option)
		}
	}
	if o.Definitions, _, err = repart.Parse(os.DirFS(definitions), repart.Options{Architecture: "x86-64"}); err != nil {
		return err
	}
	if err := repart.Check(o.Definitions); err != nil {
		return err
	}
	if _, err := Build(t.Context(), o); err != nil {
		return fmt.Errorf("building: %w", err)
	}
	return nil
}

// setSize reads a size of an option; "auto" is zero.
func setSize(t *testing.T, s string) int64 {
	t.Helper()
	if s == "auto" {
		return 0
	}
	digits := strings.TrimRight(s, "KMGT")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if suffix := s[len(digits):]; suffix != "" {
		n <<= 10 * (1 + strings.Index("KMGT", suffix))
	}
	return n
}
