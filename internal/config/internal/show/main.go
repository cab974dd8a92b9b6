// Command show is scratch.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/host"
)

func main() {
	wd, _ := os.Getwd()
	c, err := config.Load(context.Background(), config.LoadOptions{Args: os.Args[1:], Dir: wd, Host: host.Detect(),
		Run: func(ctx context.Context, p string) ([]byte, error) {
			cmd := exec.CommandContext(ctx, p)
			cmd.Dir = filepath.Dir(p)
			return cmd.Output()
		}})
	for _, w := range c.Warnings {
		fmt.Fprintln(os.Stderr, "warning:", w)
	}
	if err == nil {
		switch {
		case c.Options.JSON:
			var b []byte
			b, err = config.JSON(c)
			os.Stdout.Write(b)
		case c.Verb == config.VerbCatConfig:
			err = config.CatConfig(os.Stdout, c)
		default:
			err = config.Summary(os.Stdout, c, false)
			for _, u := range config.Unsupported(c.Main()) {
				fmt.Println(u)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		var e *config.Error
		if errors.As(err, &e) && e.Hint != "" {
			fmt.Fprintln(os.Stderr, "hint:", e.Hint)
		}
		os.Exit(1)
	}
}
