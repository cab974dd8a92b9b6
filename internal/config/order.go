package config

import (
	"fmt"
	"slices"
	"strings"
)

// buildOrder returns main and all images that it depends on, each after its
// own dependencies. Images that could be built at the same time keep the
// order in which they are first named.
func buildOrder(all []*Image, main *Image) ([]*Image, error) {
	byName := map[string]*Image{}
	for _, img := range all {
		byName[img.Image] = img
	}
	needed, missing := map[string]bool{}, problems{}
	queue := []*Image{main}
	for len(queue) > 0 {
		img := queue[0]
		queue = queue[1:]
		if needed[img.Image] {
			continue
		}
		needed[img.Image] = true
		for _, name := range img.Dependencies {
			dep := byName[name]
			if dep == nil {
				missing.addAll(dependencyError(img, name, fmt.Sprintf("there is no image %q to depend on", name), didYouMean(name, imageNames(all))))
				continue
			}
			queue = append(queue, dep)
		}
	}
	if err := missing.err(); err != nil {
		return nil, err
	}
	var names []string // in the order in which they are first named
	for _, img := range all {
		if !needed[img.Image] {
			continue
		}
		for _, name := range append([]string{img.Image}, img.Dependencies...) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	var order []*Image
	done := map[string]bool{}
	for len(order) < len(names) {
		var ready []string
		for _, name := range names {
			if !done[name] && !slices.ContainsFunc(byName[name].Dependencies, func(d string) bool { return !done[d] }) {
				ready = append(ready, name)
			}
		}
		if len(ready) == 0 {
			return nil, cycleError(byName, names, done)
		}
		for _, name := range ready {
			done[name] = true
			order = append(order, byName[name])
		}
	}
	return order, nil
}

func imageNames(images []*Image) []string {
	var names []string
	for _, img := range images {
		names = append(names, img.Image)
	}
	return names
}

// cycleError names the images of a cycle among those that are not done.
func cycleError(byName map[string]*Image, names []string, done map[string]bool) error {
	i := slices.IndexFunc(names, func(n string) bool { return !done[n] })
	path := []string{names[i]}
	for {
		img := byName[path[len(path)-1]]
		next := img.Dependencies[slices.IndexFunc(img.Dependencies, func(n string) bool { return !done[n] })]
		if start := slices.Index(path, next); start >= 0 {
			cycle := append(path[start:], next)
			return dependencyError(byName[next], cycle[1], "images depend on each other in a circle: "+strings.Join(cycle, ", "), "")
		}
		path = append(path, next)
	}
}

func dependencyError(img *Image, name, msg, hint string) error {
	e := &Error{Setting: "Dependencies", Msg: msg, Hint: hint}
	for _, o := range slices.Backward(img.Origin("Dependencies")) {
		if o.File != "" {
			e.File, e.Line = o.File, o.Line
			e.pointAt(name)
			break
		}
	}
	return e
}
