package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// Format is the version of the cache's own layout. It is part of every key, so that what another version of the
// program left is never used.
const Format = 1

// Inputs is everything that the result of a step depends on, in the order in which differences are to be told.
type Inputs []Input

// Input is one thing that the result of a step depends on. It holds a text, a list or a digest.
type Input struct {
	// Name is what the user knows it as: "Packages=", "PrepareScripts=mkosi.prepare", "Environment=FOO".
	Name string `json:"name"`
	// Text is a short value that may be shown.
	Text string `json:"text,omitempty"`
	// List holds the words of a list, which may be shown.
	List []string `json:"list,omitempty"`
	// Digest stands for a value that is too long to keep, or secret, and for files. It is in hexadecimal.
	Digest string `json:"digest,omitempty"`
	// Files has what tells files apart, for an input that is a directory; see [Fingerprint].
	Files []string `json:"files,omitempty"`
}

// maxText is how long a text may be that is kept as it is. Of a longer one only the digest is.
const maxText = 200

// AddText adds a value that may be shown.
func (in *Inputs) AddText(name, value string) {
	if len(value) > maxText {
		in.AddSecret(name, value)
		return
	}
	*in = append(*in, Input{Name: name, Text: value})
}

// AddList adds a list of words that may be shown. Their order counts.
func (in *Inputs) AddList(name string, words []string) {
	*in = append(*in, Input{Name: name, List: slices.Clone(words)})
}

// AddSecret adds a value of which nothing but a digest is kept.
func (in *Inputs) AddSecret(name, value string) {
	sum := sha256.Sum256([]byte(value))
	*in = append(*in, Input{Name: name, Digest: hex.EncodeToString(sum[:])})
}

// AddFiles adds the content of a file or directory.
func (in *Inputs) AddFiles(name string, f *Fingerprint) {
	*in = append(*in, Input{Name: name, Digest: f.Digest, Files: f.Files})
}

// Key returns a SHA-256 over all inputs and [Format], in hexadecimal.
func (in Inputs) Key() string {
	h := sha256.New()
	text := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	number := func(n int) {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	text("mkosi cache")
	number(Format)
	for _, i := range in {
		text(i.Name)
		text(i.Text)
		number(len(i.List))
		for _, word := range i.List {
			text(word)
		}
		text(i.Digest) // which covers Files
	}
	return hex.EncodeToString(h.Sum(nil))
}
