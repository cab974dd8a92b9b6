package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/mkosi-go/mkosi/internal/build"
	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/timing"
)

// build builds the images.
func (a *app) build(ctx context.Context) (err error) {
	if err := refuseOptions(a.cfg.Options); err != nil {
		return err
	}
	a.warn()
	b, err := a.builder()
	if err != nil {
		return err
	}
	if a.cfg.Options.DebugTiming {
		b.Timing = timing.New()
		defer func() { err = errors.Join(err, a.reportTiming(b.Timing.Report())) }()
	}
	if err := b.Configure(ctx); err != nil {
		return err
	}
	plan, err := build.NewPlan(a.cfg)
	if err != nil {
		return err
	}
	if a.cfg.Main().History {
		if err := a.keepHistory(); err != nil {
			return err
		}
	}
	if plan.Empty() {
		for _, job := range plan.Jobs {
			a.ui.Infof(job.Image.Image, "not built: %s", job.Skip)
		}
		return nil
	}
	if err := plan.CheckPrograms(build.Installed); err != nil {
		return err
	}
	if err := plan.CheckKeys(ctx, func(image, text string) { a.ui.Warnf(image, "%s", text) }); err != nil {
		return err
	}
	if session := sandbox.Current(); session.SingleUser {
		a.ui.Warnf("", "all files of the images will belong to root: %s", session.Reason)
	}
	return b.Run(ctx, plan)
}

// cacheLimit is the variable of the environment that limits what cached images may take up.
const cacheLimit = "MKOSI_CACHE_MAX_USE"

// builder returns what builds images, and cleans up after them.
func (a *app) builder() (*build.Builder, error) {
	b := &build.Builder{Config: a.cfg, Host: a.host, UI: a.ui}
	if text := a.host.Environment[cacheLimit]; text != "" {
		var err error
		if b.CacheMaxUse, err = config.ParseSize(text); err != nil {
			return nil, &config.Error{Msg: fmt.Sprintf("the environment variable %s: %v", cacheLimit, err)}
		}
	}
	return b, nil
}

// keepHistory keeps the settings of the command line, which may hold secrets, for later verbs.
func (a *app) keepHistory() error {
	data, err := a.cfg.HistoryJSON()
	if err != nil {
		return err
	}
	path := filepath.Join(a.cfg.Dir, config.HistoryPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keeping the command line for later verbs, see History=: %w", err)
	}
	if err := renameio.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("keeping the command line for later verbs, see History=: %w", err)
	}
	return nil
}

// enterSession runs the rest of the program in a session if it is to build: files of images may belong to users that
// exist only inside, and mounts must not be seen outside. The configuration is read inside, once, since reading it may
// run programs. Outside it returns only if the session could not be started.
func (a *app) enterSession() error {
	// What is wrong with the command line is told when the configuration is read.
	if verb, err := a.line.Verb(); err != nil || !needsSession(verb) {
		// Nothing else works on so much data that its memory is worth the time to collect it.
		debug.SetGCPercent(400)
		return nil
	}
	if err := startSession(); err != nil || !sandbox.Current().UserNamespace {
		return err
	}
	var uidErr, gidErr error
	a.host.UID, uidErr = outerID("/proc/self/uid_map")
	a.host.GID, gidErr = outerID("/proc/self/gid_map")
	return errors.Join(uidErr, gidErr)
}

// needsSession reports whether a verb works on the files of images.
func needsSession(v config.Verb) bool {
	return v == config.VerbBuild || v == config.VerbClean || v == config.VerbPlan || v == config.VerbShell || v == config.VerbVM ||
		v == config.VerbTest
}

// startSession returns inside the session, or if it could not be started. The kernel's word for a limit on namespaces is
// that no space is left; the hint keeps anybody from looking for it on a disk.
func startSession() error {
	if err := sandbox.EnterSession(); err != nil {
		return &hintError{err, "mkosi needs user namespaces, or CAP_SYS_ADMIN, which root has outside of containers"}
	}
	return nil
}

// refuseOptions names the options that a build does not honour yet.
func refuseOptions(o config.Options) error {
	if o.AutoBump {
		return &config.Error{Msg: "--auto-bump is not supported yet"}
	}
	return nil
}

// outerID returns the number that root of this process's user namespace has outside, by one of the files that map the
// namespace's users and groups; see user_namespaces(7).
func outerID(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("reading the user namespace's map: %w", err)
	}
	var in, out, count int
	if _, err := fmt.Sscan(strings.TrimSpace(string(b)), &in, &out, &count); err != nil {
		return 0, fmt.Errorf("reading the user namespace's map: %w", err)
	}
	return out, nil
}
