package config

import (
	"fmt"
	"strings"
)

// expandPath makes a path absolute, without empty and single-dot components.
func expandPath(c *place, text string) string {
	path := expandHome(c, text)
	if !absolute(path) {
		path = c.dir + "/" + path
	}
	return tidy(path)
}

// expandHome replaces variables of the program's environment, and then a
// tilde at the start by a home directory. What is not known stays.
func expandHome(c *place, text string) string {
	text = expandVariables(c.env, text)
	rest, ok := strings.CutPrefix(text, "~")
	if !ok {
		return text
	}
	user, rest, slash := strings.Cut(rest, "/")
	home := c.home
	if user != "" {
		home = ""
		if c.homeOf != nil {
			home = c.homeOf(user)
		}
	}
	if home == "" {
		return text
	}
	if slash {
		return home + "/" + rest
	}
	return home
}

// checkHome refuses a tilde that stands for no home directory.
func checkHome(c *place, text string) error {
	text = expandVariables(c.env, text)
	if strings.HasPrefix(text, "~") && expandHome(c, text) == text {
		user, _, _ := strings.Cut(text[1:], "/")
		return &homeError{user}
	}
	return nil
}

// homeError is a user without a home directory.
type homeError struct{ user string }

func (e *homeError) Error() string {
	if e.user == "" {
		return "there is no home directory for ~"
	}
	return fmt.Sprintf("there is no user %q whose home directory ~%s is", e.user, e.user)
}

func (e *homeError) hint() string { return "write ./~ for a file whose name starts with a tilde" }

// expandVariables replaces $NAME and ${NAME} where there is such a variable.
func expandVariables(env map[string]string, text string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, rest := variableName(after)
		value, ok := env[name]
		if !ok {
			value, rest = "$", after
		}
		b.WriteString(value)
		if b.Len()+len(rest) > maxExpanded {
			return text // no path is as long
		}
		text = rest
	}
}

// variableName returns the name of the variable after a dollar sign, "" for
// none, and what follows it.
func variableName(text string) (name, rest string) {
	if braced, ok := strings.CutPrefix(text, "{"); ok {
		if name, rest, ok = strings.Cut(braced, "}"); ok {
			return name, rest
		}
		return "", text
	}
	rest = strings.TrimLeftFunc(text, func(c rune) bool { return '0' <= c && c <= '9' || c < 0x80 && isAlpha(byte(c)) || c == '_' })
	return text[:len(text)-len(rest)], rest
}

func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
