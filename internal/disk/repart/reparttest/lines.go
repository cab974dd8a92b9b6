package reparttest

// Lines returns mistakes about sections, lines and types.
func Lines() []Malformed {
	return []Malformed{
		{Text: "Type=floppy", Error: `10.conf:2: Type=: unknown partition type "floppy" (give a name of repart.d(5), such as root, or a UUID)`},
		{Text: "Type=", Error: `10.conf:2: Type=: unknown partition type "" (give a name of repart.d(5), such as root, or a UUID)`},
		{Text: "Type=ROOT", Error: `10.conf:2: Type=: unknown partition type "ROOT" (did you mean "root"?)`},
		{Text: "Type=home # comment", Error: `10.conf:2: Type=: unknown partition type "home # comment" (give a name of repart.d(5), such as root, or a UUID)`},
		{Text: "Type=00000000-0000-0000-0000-000000000000", Error: `10.conf:2: Type=: unknown partition type "00000000-0000-0000-0000-000000000000" (give a name of repart.d(5), such as root, or a UUID)`},
		{Text: "Type={4f68bce3-e8cd-4db1-96e7-fbcaf984b709}", Error: `10.conf:2: Type=: unknown partition type "{4f68bce3-e8cd-4db1-96e7-fbcaf984b709}" (give a name of repart.d(5), such as root, or a UUID)`},
		{Text: "Type=root-vax", Error: `10.conf:2: Type=: unknown partition type "root-vax" (give a name of repart.d(5), such as root, or a UUID)`},
		{Text: "Type=home swap", Error: `10.conf:2: Type=: unknown partition type "home swap" (give a name of repart.d(5), such as root, or a UUID)`},
		{Text: "Typ=home", Error: "10.conf:2: unknown setting Typ= (did you mean Type=?)"},
		{Text: "Label=x", Error: "10.conf: setting Type= is missing (say what the partition is, such as Type=root)"},
		{Text: "type=home", Error: "10.conf:2: unknown setting type= (did you mean Type=?)"},
		{Text: "Type=home\nLable=x", Error: "10.conf:3: unknown setting Lable= (did you mean Label=?)", Reference: Ignores},
		{Text: "Type=home\nSizeMinByte=1G", Error: "10.conf:3: unknown setting SizeMinByte= (did you mean SizeMinBytes=?)", Reference: Ignores},
		{Text: "[Partition]\nType=home\n[Partitions]\nLabel=x", Bare: true, Error: "10.conf:3: unknown section [Partitions] (did you mean [Partition]?)", Reference: Ignores},
		{Text: "Type=home\nhello", Error: `10.conf:3: expected NAME=value, not "hello"`, Reference: Ignores},
		{Text: "Type=home\n=hello", Error: "10.conf:3: there is no name before the equals sign", Reference: Ignores},
		{Text: "Type=home\n[Partition]\nType=home", Bare: true, Error: "10.conf:1: setting outside of a section (write [Partition] above it)", Reference: Ignores},
		{Text: "[Partition\nType=home", Bare: true, Error: `10.conf:1: "[Partition" is not a section heading (write [Partition], and nothing behind it)`},
		{Text: "[Partition] x\nType=home", Bare: true, Error: `10.conf:1: "[Partition] x" is not a section heading (write [Partition], and nothing behind it)`},
		{Text: "[]\n[Partition]\nType=home", Bare: true, Error: `10.conf:1: "[]" is not a section heading (write [Partition], and nothing behind it)`},
		{Text: "[partition]\nType=home", Bare: true, Error: "10.conf:1: unknown section [partition] (did you mean [Partition]?)"},
		{Text: "# nothing but a comment", Bare: true, Error: "10.conf: setting Type= is missing (say what the partition is, such as Type=root)"},
		{Text: "[Partition]\nType=home\nLabel=a\xff", Bare: true, Error: "10.conf:3: the line is not valid UTF-8"},
		{Text: "[Partition]\nType=home\nLabel=a\x00b", Bare: true, Error: "10.conf:3: the file is not text, it contains a zero byte", Reference: Ignores},
	}
}
