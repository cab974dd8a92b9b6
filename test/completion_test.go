//go:build integration

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bashDriver prints what bash completes: it calls the function as readline does, with its words split at equals signs.
const bashDriver = `
source "$SCRIPT"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_mkosi
printf '%s\n' "${COMPREPLY[@]}"
`

// fishDriver prints what fish completes, without the descriptions.
const fishDriver = `
source $SCRIPT
complete -C "$argv[1]" | string replace -r '\t.*' ''
true
`

// zshDriver types a command line and a tab in a shell of its own, which writes its matches to a file. Before it types it
// waits until the line editor is there, and after that until the completion is done: on a busy machine both take a while.
const zshDriver = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1= PROMPT= RPROMPT=; stty -echo 2>/dev/null; autoload -Uz compinit; compinit -u -D; source $SCRIPT'
zpty -w z 'zstyle ":completion:*" list-grouped no; zstyle ":completion:*:default" list-prompt ""; LISTMAX=100000'
zpty -w z '
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
    local -a hits
    builtin compadd -A hits "$@"
    print -rl -- ${hits/#/MATCH:} >> $MATCHES
    builtin compadd "$@"
}
complete-and-tell() { zle complete-word; print -r COMPLETED >> $MATCHES }
zle -N complete-and-tell
bindkey "^I" complete-and-tell
zle-line-init() { print -r EDITING >> $MATCHES }
zle -N zle-line-init
print -r READY'
wait-for() { repeat 600; do grep -q "^$1\$" $MATCHES && return; sleep 0.05; done; print -r "zsh is not $1" >&2; exit 1 }
while zpty -r z line; do [[ $line == *READY* && $line != *print* ]] && break; done
wait-for EDITING
zpty -w -n z "$1"$'\t'
wait-for COMPLETED
zpty -w -n z $'\C-u'
zpty -w z 'print -r DO''NE'
while zpty -r z line; do [[ $line == *DONE* ]] && break; done
zpty -d z
sed -n 's/^MATCH://p' $MATCHES
`

// completions returns what a shell offers for a command line whose last word is not complete.
func completions(t *testing.T, shell, dir, line string) []string {
	t.Helper()
	script := filepath.Join(dir, "_script."+shell)
	if err := os.WriteFile(script, []byte(must(t, exec.Command(binary, "completion", shell))), 0o644); err != nil {
		t.Fatal(err)
	}
	matches := filepath.Join(dir, "_matches")
	if err := os.WriteFile(matches, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var cmd *exec.Cmd
	switch shell {
	case "bash":
		split := strings.ReplaceAll(line, "=", " = ")
		cmd = exec.Command("bash", append([]string{"--norc", "-c", bashDriver, "bash"}, strings.Split(split, " ")...)...)
	case "fish":
		cmd = exec.Command("fish", "--no-config", "-c", fishDriver, line)
	case "zsh":
		cmd = exec.Command("zsh", "-f", "-c", zshDriver, "zsh", line)
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SCRIPT="+script, "MATCHES="+matches, "TERM=vt100", "LC_ALL=C.UTF-8", "HOME="+dir,
		"PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	var words []string
	for _, word := range strings.Split(must(t, cmd), "\n") {
		word = strings.TrimSpace(word)
		if i := strings.LastIndex(line, "="); i >= 0 && shell == "fish" { // fish completes the whole word
			word = strings.TrimPrefix(word, line[strings.LastIndexByte(line, ' ')+1:i+1])
		}
		if word != "" && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words
}

func completionTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"mkosi.conf", "mkosi.profiles/debug.conf", "mkosi.profiles/release/mkosi.conf", "mkosi.images/base.conf",
		"other/mkosi.conf", "other/mkosi.profiles/elsewhere.conf", "my tree/file", "mkosi.profiles/$(touch bad).conf"} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCompletionInRealShells(t *testing.T) {
	cases := []struct {
		name, line string
		want       []string // have to be offered
		not        []string // must not be
	}{
		{"verbs", "mkosi su", []string{"summary"}, []string{"build"}},
		{"options", "mkosi --output-d", []string{"--output-directory"}, []string{"--output"}},
		{"choices behind an equals sign", "mkosi --format=d", []string{"disk", "directory"}, []string{"cpio"}},
		{"choices behind a short option", "mkosi -t d", []string{"disk", "directory"}, []string{"cpio"}},
		{"distributions", "mkosi --distribution=ub", []string{"ubuntu"}, []string{"debian"}},
		{"booleans", "mkosi --with-docs=", []string{"yes", "no"}, nil},
		{"features", "mkosi --bootable=", []string{"yes", "no", "auto"}, nil},
		{"profiles", "mkosi --profile=", []string{"debug", "release"}, []string{"elsewhere"}},
		{"profiles of another directory", "mkosi -C other --profile=", []string{"elsewhere"}, []string{"debug"}},
		{"images", "mkosi --dependency=b", []string{"base"}, nil},
		{"pages of the manual", "mkosi documentation mkosi.", []string{"mkosi.news"}, nil},
		{"shells", "mkosi completion ", []string{"bash", "fish", "zsh"}, []string{"summary"}},
		{"settings to explain", "mkosi explain Pack", []string{"Packages", "PackageDirectories"}, []string{"Format"}},
		{"topics of help", "mkosi help summ", []string{"summary"}, nil},
		{"verbs behind an option with a value", "mkosi -t disk su", []string{"summary"}, nil},
	}
	for _, shell := range []string{"bash", "fish", "zsh"} {
		t.Run(shell, func(t *testing.T) {
			dir := completionTree(t)
			for _, tt := range cases {
				got := completions(t, shell, dir, tt.line)
				for _, word := range tt.want {
					if !slices.Contains(got, word) {
						t.Errorf("%s: %q does not offer %q but %q", tt.name, tt.line, word, got)
					}
				}
				for _, word := range tt.not {
					if slices.Contains(got, word) {
						t.Errorf("%s: %q offers %q", tt.name, tt.line, word)
					}
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "bad")); err == nil {
				t.Error("the name of a profile was run as a command")
			}
		})
	}
}

func TestCompletionOfFilesWithSpaces(t *testing.T) {
	for _, shell := range []string{"bash", "fish", "zsh"} {
		dir := completionTree(t)
		got := completions(t, shell, dir, "mkosi --extra-tree=my")
		if !slices.ContainsFunc(got, func(word string) bool {
			word = strings.TrimSuffix(strings.ReplaceAll(word, `\ `, " "), "/")
			return word == "my tree" || word == "'my tree" || word == "'my tree/'"
		}) {
			t.Errorf("%s offers %q", shell, got)
		}
	}
}
