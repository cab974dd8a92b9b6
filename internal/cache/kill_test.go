package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// killFiles is how many files an entry of TestKill has.
const killFiles = 60

// cached finds or makes an entry, and checks that it is whole.
func cached(ctx context.Context, s *Store, word string) error {
	e, _, err := s.Lookup(ctx, "debian", packages(word))
	if err != nil {
		return err
	}
	if e == nil {
		var p *Pending
		if p, e, err = s.Begin(ctx, "debian", packages(word)); err != nil {
			return err
		}
		if p != nil {
			defer p.Close()
			if e, err = fill(ctx, p, word); err != nil {
				return err
			}
		}
	}
	defer e.Close()
	for i := range killFiles {
		if b, err := os.ReadFile(e.Path(fmt.Sprintf("tree/%d", i))); err != nil || string(b) != word {
			return fmt.Errorf("file %d of %s holds %q, %v", i, word, b, err)
		}
	}
	return nil
}

func fill(ctx context.Context, p *Pending, word string) (*Entry, error) {
	if err := os.Mkdir(p.Path("tree"), 0o755); err != nil {
		return nil, err
	}
	for i := range killFiles {
		if err := os.WriteFile(p.Path(fmt.Sprintf("tree/%d", i)), []byte(word), 0o644); err != nil {
			return nil, err
		}
	}
	return p.Commit(ctx)
}

// TestKill kills a program that makes, uses and replaces entries at random moments, while another one does the same in
// the same store. What it leaves must be neither used nor in the way, and be gone after the next use.
func TestKill(t *testing.T) {
	if dir := os.Getenv("CACHE_TEST_KILL"); dir != "" {
		s := &Store{Dir: dir}
		for i := 0; ; i++ {
			if err := cached(t.Context(), s, string(rune('a'+i%3))); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				fmt.Println("ready")
			}
		}
	}
	s := &Store{Dir: storeDir(t)}
	must(t, cached(t.Context(), s, "z"))
	clean := files(t, s.Dir)
	for round := range 50 {
		kill := startKilled(t, s.Dir)
		deadline := time.Now().Add(time.Duration(rand.IntN(10_000)) * time.Microsecond)
		for i := round; time.Now().Before(deadline); i++ {
			must(t, cached(t.Context(), s, string(rune('a'+i%4))))
		}
		kill()
		for _, word := range []string{"a", "b", "c"} { // what it may have made or removed by half
			must(t, cached(t.Context(), s, word))
		}
		must(t, cached(t.Context(), s, "z")) // replaces what was in use by the killed one
		if diff := cmp.Diff(clean, files(t, s.Dir)); diff != "" {
			t.Fatalf("round %d: left behind: %s", round, diff)
		}
	}
}

// startKilled starts the other program and waits until it is at work. The result kills it.
func startKilled(t *testing.T, dir string) (kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), "CACHE_TEST_KILL="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	ready := make([]byte, len("ready\n"))
	if _, err := out.Read(ready); err != nil || string(ready) != "ready\n" {
		t.Fatalf("the other program said %q, %v", ready, err)
	}
	return func() {
		must(t, cmd.Process.Kill())
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the other program ended by itself: %v", err)
		}
	}
}
