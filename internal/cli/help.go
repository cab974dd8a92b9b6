package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
)

// verbHelp says what each verb does, in a clause.
var verbHelp = map[config.Verb]string{
	config.VerbBuild:      "build the images; this is what happens without a verb",
	config.VerbSummary:    "show what the configuration means; --json for programs",
	config.VerbExplain:    "say where the value of a setting comes from, or which files are read",
	config.VerbCheck:      "look for everything that is wrong with the configuration",
	config.VerbCatConfig:  "show the configuration files that are read",
	config.VerbGenkey:     "make a key and a certificate, mkosi.key and mkosi.crt",
	config.VerbClean:      "remove the outputs",
	config.VerbCompletion: "print a completion script: completion bash, fish or zsh",
	config.VerbHelp:       "show this help",
}

// help shows all verbs, options and exit codes.
func (a *app) help(context.Context) error {
	w := bufio.NewWriter(a.stdout)
	fmt.Fprint(w, `Build operating system images.

Usage:
  mkosi [OPTION...] [VERB] [-- ARGUMENT...]

Verbs:
`)
	for _, v := range slices.Sorted(maps.Keys(verbs)) {
		entry(w, string(v), verbHelp[v])
	}
	fmt.Fprint(w, "\nOptions:\n")
	for _, o := range config.ProgramOptions() {
		entry(w, optionLine(o.Short, o.Long, o.Argument), o.Help)
	}
	for _, section := range config.Sections() {
		fmt.Fprintf(w, "\nSettings of section [%s]:\n", section)
		for _, s := range config.Settings() {
			if s.Section == section {
				entry(w, optionLine(s.Short, s.Long, s.Argument()), s.Help+" ("+s.Name+"=)")
			}
		}
	}
	fmt.Fprint(w, `
Exit codes:
  0    done
  1    the build, or whatever else the verb does, failed
  2    the command line or the configuration is wrong; nothing was done
  70   a bug in mkosi
  130  interrupted with Ctrl-C; in general 128 and the number of the signal
`)
	return w.Flush()
}

func optionLine(short, long, argument string) string {
	line := "    --" + long
	if short != "" {
		line = "-" + short + ", --" + long
	}
	if argument != "" {
		line += " " + argument
	}
	return line
}

// helpColumn is where explanations begin.
const helpColumn = 44

// entry writes a name and its explanation, on a line of its own when the name is long.
func entry(w io.Writer, name, text string) {
	if len(name)+4 > helpColumn {
		fmt.Fprintf(w, "  %s\n%*s%s\n", name, helpColumn, "", text)
		return
	}
	fmt.Fprintf(w, "  %-*s%s\n", helpColumn-2, name, text)
}

// words are everything that completion offers: verbs, and options with the words that they choose from.
func words() (names []string, options map[string][]string) {
	for _, v := range slices.Sorted(maps.Keys(verbs)) {
		names = append(names, string(v))
	}
	options = map[string][]string{}
	for _, o := range config.ProgramOptions() {
		options["--"+o.Long] = nil
	}
	for _, s := range config.Settings() {
		if s.Long != "" {
			options["--"+s.Long] = slices.DeleteFunc(s.Choices(), func(c string) bool { return c == "" })
		}
	}
	return names, options
}

// completion prints a script that teaches a shell the verbs and options.
func (a *app) completion(context.Context) error {
	shell := ""
	if len(a.cfg.VerbArgs) > 0 {
		shell = a.cfg.VerbArgs[0]
	}
	names, options := words()
	all := slices.Sorted(maps.Keys(options))
	w := bufio.NewWriter(a.stdout)
	switch shell {
	case "bash":
		fmt.Fprintf(w, "_mkosi() {\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n    case $prev in\n")
		for _, o := range all {
			if len(options[o]) > 0 {
				fmt.Fprintf(w, "        %s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", o, strings.Join(options[o], " "))
			}
		}
		fmt.Fprintf(w, "    esac\n    case $cur in\n        -*) COMPREPLY=($(compgen -W '%s' -- \"$cur\")) ;;\n        *) COMPREPLY=($(compgen -f -W '%s' -- \"$cur\")) ;;\n    esac\n}\ncomplete -o filenames -F _mkosi mkosi\n",
			strings.Join(all, " "), strings.Join(names, " "))
	case "fish":
		for _, n := range names {
			fmt.Fprintf(w, "complete -c mkosi -n __fish_use_subcommand -a %s -d '%s'\n", n, verbHelp[config.Verb(n)])
		}
		for _, o := range all {
			fmt.Fprintf(w, "complete -c mkosi -l %s", strings.TrimPrefix(o, "--"))
			if len(options[o]) > 0 {
				fmt.Fprintf(w, " -x -a '%s'", strings.Join(options[o], " "))
			}
			fmt.Fprintln(w)
		}
	case "zsh":
		fmt.Fprintf(w, "#compdef mkosi\n_arguments -S \\\n")
		for _, o := range all {
			if len(options[o]) > 0 {
				fmt.Fprintf(w, "    '*%s=:value:(%s)' \\\n", o, strings.Join(options[o], " "))
			} else {
				fmt.Fprintf(w, "    '*%s' \\\n", o)
			}
		}
		fmt.Fprintf(w, "    '1:verb:(%s)' '*:file:_files'\n", strings.Join(names, " "))
	default:
		return &config.Error{Msg: fmt.Sprintf("completion for %q is not supported", shell), Hint: "name a shell: mkosi completion bash, fish or zsh"}
	}
	return w.Flush()
}
