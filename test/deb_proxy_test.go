//go:build integration

package test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/pkgmgr/debtest"
)

// requests counts what a server was asked, and how.
type requests struct {
	mu       sync.Mutex
	paths    []string
	password bool // all had the proxy's password
}

// counting notes a handler's requests.
func (r *requests) counting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		user, password, ok := (&http.Request{Header: http.Header{"Authorization": q.Header["Proxy-Authorization"]}}).BasicAuth()
		r.password = ok && user == "user" && password == "secret" && (r.password || len(r.paths) == 0)
		r.paths = append(r.paths, q.URL.String())
		r.mu.Unlock()
		h.ServeHTTP(w, q)
	})
}

func (r *requests) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths, r.password = nil, false
}

// TestDebProxy fetches metadata and packages through a proxy that asks for a
// password, and past it from a host that is excluded.
func TestDebProxy(t *testing.T) {
	mirror := t.TempDir()
	files := http.FileServer(http.Dir(mirror))
	var direct, proxied requests
	server := httptest.NewServer(direct.counting(files))
	defer server.Close()
	// The proxy answers from the mirror's directory, whatever the host.
	proxy := httptest.NewServer(proxied.counting(files))
	defer proxy.Close()

	for _, test := range []struct {
		name    string
		exclude []string
		proxied bool
	}{
		{"through the proxy", []string{"elsewhere.example"}, true},
		{"past the proxy", []string{"127.0.0.1"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			direct.reset()
			proxied.reset()
			a, key := localApt(t, "debian", distro.Request{Release: "sid", Mirror: server.URL})
			debtest.WriteRepository(t, filepath.Join(mirror, "debian"), key, []string{"sid"}, []string{"main"}, minimal)
			a.Proxy = strings.Replace(proxy.URL, "://", "://user:secret@", 1)
			a.ProxyExclude = test.exclude
			var shown strings.Builder
			a.Output = &shown
			if err := a.Sync(t.Context()); err != nil {
				t.Fatalf("%v\n%s", err, shown.String())
			}
			if err := a.Bootstrap(t.Context(), t.TempDir(), nil); err != nil {
				t.Fatalf("%v\n%s", err, shown.String())
			}
			used, unused := &direct, &proxied
			if test.proxied {
				used, unused = unused, used
			}
			if len(unused.paths) > 0 || !strings.Contains(strings.Join(used.paths, " "), ".deb") {
				t.Errorf("went direct: %q\nthrough the proxy: %q", direct.paths, proxied.paths)
			}
			if test.proxied && !proxied.password {
				t.Error("the proxy was not given the password")
			}
			if strings.Contains(shown.String(), "secret") {
				t.Errorf("the password is shown: %s", shown.String())
			}
		})
	}
}
