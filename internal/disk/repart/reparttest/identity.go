package reparttest

// Identity returns mistakes about names, identifiers and attributes.
func Identity() []Malformed {
	return []Malformed{
		{Text: "Type=home\nLabel=%x", Error: "10.conf:3: Label=: unknown specifier %x (write %% for a percent sign)", Reference: Ignores},
		{Text: "Type=home\nLabel=%m", Error: "10.conf:3: Label=: specifier %m needs a machine ID, which the image does not have", Reference: Accepts, Reason: "nothing but the image can say what its machine ID is"},
		{Text: "Type=home\nLabel=%A", Error: "10.conf:3: Label=: specifier %A needs IMAGE_VERSION= of os-release, which is not known", Reference: Accepts, Reason: "nothing but the image can say what its version is"},
		{Text: "Type=home\nLabel=%H", Error: "10.conf:3: Label=: specifier %H, the host name, would make the image depend on the machine that builds it (write out what it should be)", Reference: Accepts, Reason: "an image must not depend on the machine that makes it"},
		{Text: "Type=home\nLabel=%v", Error: "10.conf:3: Label=: specifier %v, the kernel release, would make the image depend on the machine that builds it (write out what it should be)", Reference: Accepts, Reason: "an image must not depend on the machine that makes it"},
		{Text: "Type=home\nLabel=%b", Error: "10.conf:3: Label=: specifier %b, the boot ID, would make the image depend on the machine that builds it (write out what it should be)", Reference: Accepts, Reason: "an image must not depend on the machine that makes it"},
		{Text: "Type=home\nUUID=x", Error: `10.conf:3: UUID=: "x" is not a UUID (write one such as 4f68bce3-e8cd-4db1-96e7-fbcaf984b709, or null)`, Reference: Ignores},
		{Text: "Type=home\nUUID=NULL", Error: `10.conf:3: UUID=: "NULL" is not a UUID (write one such as 4f68bce3-e8cd-4db1-96e7-fbcaf984b709, or null)`, Reference: Ignores},
		{Text: "Type=home\nUUID=random", Error: `10.conf:3: UUID=: "random" is not a UUID (write one such as 4f68bce3-e8cd-4db1-96e7-fbcaf984b709, or null)`, Reference: Ignores},
		{Text: "Type=home\nUUID={3d30965a-0981-46f6-a67a-9c6bc38538e6}", Error: `10.conf:3: UUID=: "{3d30965a-0981-46f6-a67a-9c6bc38538e6}" is not a UUID (write one such as 4f68bce3-e8cd-4db1-96e7-fbcaf984b709, or null)`, Reference: Ignores},
		{Text: "Type=home\nUUID=3d30965a-0981-46f6-a67a9c6bc38538e6", Error: `10.conf:3: UUID=: "3d30965a-0981-46f6-a67a9c6bc38538e6" is not a UUID (write one such as 4f68bce3-e8cd-4db1-96e7-fbcaf984b709, or null)`, Reference: Ignores},
		{Text: "Type=home\nFlags=", Error: `10.conf:3: Flags=: "" is not a number of 64 bits (write it in decimal, after 0x in hexadecimal or after 0b in binary)`, Reference: Ignores},
		{Text: "Type=home\nFlags=x", Error: `10.conf:3: Flags=: "x" is not a number of 64 bits (write it in decimal, after 0x in hexadecimal or after 0b in binary)`, Reference: Ignores},
		{Text: "Type=home\nFlags=-1", Error: `10.conf:3: Flags=: "-1" is not a number of 64 bits (write it in decimal, after 0x in hexadecimal or after 0b in binary)`, Reference: Ignores},
		{Text: "Type=home\nFlags=0x10000000000000000", Error: `10.conf:3: Flags=: "0x10000000000000000" is not a number of 64 bits (write it in decimal, after 0x in hexadecimal or after 0b in binary)`, Reference: Ignores},
		{Text: "Type=home\nNoAuto=maybe", Error: `10.conf:3: NoAuto=: "maybe" is not a boolean (write yes or no)`, Reference: Ignores},
		{Text: "Type=home\nReadOnly=2", Error: `10.conf:3: ReadOnly=: "2" is not a boolean (write yes or no)`, Reference: Ignores},
		{Text: "Type=home\nFactoryReset=", Error: `10.conf:3: FactoryReset=: "" is not a boolean (write yes or no)`, Reference: Ignores},
		{Text: "Type=home\nSplitName=a/b", Error: `10.conf:3: SplitName=: "a/b" is not part of a file name`, Reference: Accepts, Reason: "it finds out only when it splits the image"},
		{Text: "Type=home\nSplitName=%x", Error: "10.conf:3: SplitName=: unknown specifier %x (write %% for a percent sign)", Reference: Accepts, Reason: "it finds out only when it splits the image"},
	}
}
