package inspect

import "fmt"

// Check is something of an image that can be right or wrong.
type Check struct {
	// Partition is its number, 0 for the disk as a whole.
	Partition int
	// What is checked, such as "hash tree".
	What string
	// Good says that it is right, and Detail more, or why not.
	Good   bool
	Detail string
	// Bad are the blocks that are wrong.
	Bad []BadBlock `json:",omitempty"`
}

// Checks are the results of all that could be checked, in the order of the
// image. There is nothing to check in an image without a partition table and
// without signatures.
func (im *Image) Checks() []Check {
	list := []Check{}
	if t := im.Table; t != nil {
		list = append(list, check(0, "primary partition table", t.Primary, ""), check(0, "backup partition table", t.Backup, ""))
	}
	for _, p := range im.Partitions {
		list = append(list, p.Content.checks(p.Number)...)
	}
	if im.Content != nil {
		list = append(list, im.Content.checks(0)...)
	}
	return list
}

// Verifiable reports whether the image has anything that tells whether somebody
// changed it: a hash tree or a signature.
func (im *Image) Verifiable() bool {
	for _, c := range im.Checks() {
		if c.What != "primary partition table" && c.What != "backup partition table" {
			return true
		}
	}
	return false
}

func check(partition int, what, state, detail string) Check {
	if state != Good {
		detail = state
	}
	return Check{Partition: partition, What: what, Good: state == Good, Detail: detail}
}

func (c *Content) checks(partition int) []Check {
	var list []Check
	if v := c.Verity; v != nil {
		state := v.State
		if state == "" {
			state = "the hashes alone cannot be checked without their data"
		}
		one := check(partition, "hash tree", state, fmt.Sprintf("%d blocks of partition %d, root hash %s", v.DataBlocks, v.Data, v.RootHash))
		one.Bad = v.Bad
		list = append(list, one)
	} else if c.Format == FormatVerity {
		list = append(list, check(partition, "hash tree", c.Problem, ""))
	}
	if s := c.Signature; s != nil {
		list = append(list, check(partition, "signature", s.State, signedBy(s)))
	} else if c.Format == FormatSignature {
		list = append(list, check(partition, "signature", c.Problem, ""))
	}
	programs := c.Programs
	if c.Program != nil {
		programs = append(programs, *c.Program)
	}
	for _, p := range programs {
		for _, s := range p.Signatures {
			what := "signature"
			if p.Path != "" {
				what += " of " + p.Path
			}
			list = append(list, check(partition, what, s.State, signedBy(&s)))
		}
	}
	return list
}

// signedBy names the certificate of a signature.
func signedBy(s *Signature) string {
	if s.Signer != "" {
		return "by " + s.Signer
	}
	return "by the certificate " + s.Fingerprint.String()
}
