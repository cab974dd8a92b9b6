package cli

import (
	"context"

	"github.com/mkosi-go/mkosi/internal/config"
)

// summary shows the configuration, for people or, with --json, for programs.
func (a *app) summary(context.Context) error {
	a.warn()
	if !a.cfg.Options.JSON {
		return config.Summary(a.stdout, a.cfg, false)
	}
	b, err := config.JSON(a.cfg)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(append(b, '\n'))
	return err
}

// catConfig prints the configuration files, each under its name.
func (a *app) catConfig(context.Context) error {
	a.warn()
	return config.CatConfig(a.stdout, a.cfg)
}
