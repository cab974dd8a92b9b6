package reparttest

// Encryption returns mistakes about encryption.
func Encryption() []Malformed {
	return []Malformed{
		{Text: "Type=home\nDiscard=x", Error: `10.conf:3: Discard=: "x" is not a boolean (write yes or no)`, Reference: Ignores},
		{Text: "Type=home\nVolumeName=x", Error: "10.conf:3: VolumeName=: not supported: it is for BlockDeviceReplace=, which needs a running system (write EncryptedVolume= for crypttab)"},
		{Text: "Type=home\nEncrypt=x", Error: `10.conf:3: Encrypt=: "x" is none of off, key-file`, Reference: Ignores},
		{Text: "Type=home\nEncrypt=tpm2", Error: "10.conf:3: Encrypt=: tpm2 is not supported yet: no key can be sealed to a TPM while an image is made (use key-file)"},
		{Text: "Type=home\nEncrypt=key-file+tpm2", Error: "10.conf:3: Encrypt=: key-file+tpm2 is not supported yet: no key can be sealed to a TPM while an image is made (use key-file)"},
		{Text: "Type=home\nEncrypt=tpm2+key-file", Error: `10.conf:3: Encrypt=: "tpm2+key-file" is none of off, key-file`, Reference: Ignores},
		{Text: "Type=home\nTPM2PCRs=7", Error: "10.conf:3: TPM2PCRs=: not supported: no key can be sealed to a TPM while an image is made", Reference: Accepts, Reason: "the keys that it is about cannot be made"},
		{Text: "Type=home\nTPM2PCRs=x", Error: "10.conf:3: TPM2PCRs=: not supported: no key can be sealed to a TPM while an image is made"},
		{Text: "Type=home\nEncryptKDF=scrypt", Error: `10.conf:3: EncryptKDF=: "scrypt" is none of argon2id, pbkdf2, minimal`, Reference: Ignores},
		{Text: "Type=home\nKeyFile=x", Error: `10.conf:3: KeyFile=: "x" is not an absolute path`},
		{Text: "Type=home\nKeyFile=/a/../b", Error: `10.conf:3: KeyFile=: "/a/../b" leads out of the tree (write a path without ..)`},
		{Text: "Type=home\nVolumeLabel=%x", Error: "10.conf:3: VolumeLabel=: unknown specifier %x (write %% for a percent sign)", Reference: Ignores},
		{Text: "Type=home\nVolumeLabel=1234567890123456789012345678901234567", Error: `10.conf:3: VolumeLabel=: partition name "1234567890123456789012345678901234567" is 37 characters long, the limit is 36`, Reference: Ignores},
		{Text: "Type=home\nIntegrity=x", Error: `10.conf:3: Integrity=: "x" is none of off, inline`, Reference: Ignores},
		{Text: "Type=home\nIntegrity=inline", Error: "10.conf:3: Integrity=: inline integrity needs the device mapper of a running system, and an image is made without"},
		{Text: "Type=home\nIntegrity=yes\nEncrypt=key-file", Error: "10.conf:3: Integrity=: inline integrity needs the device mapper of a running system, and an image is made without"},
		{Text: "Type=home\nIntegrityAlgorithm=md5", Error: `10.conf:3: IntegrityAlgorithm=: "md5" is none of hmac-sha1, hmac-sha256, hmac-sha512`, Reference: Ignores},
		{Text: "Type=home\nEncryptedVolume=a/b", Error: `10.conf:3: EncryptedVolume=: "a/b" cannot be the name of a volume`, Reference: Ignores},
		{Text: "Type=home\nEncryptedVolume=.", Error: `10.conf:3: EncryptedVolume=: "." cannot be the name of a volume`, Reference: Ignores},
		{Text: "Type=home\nEncryptedVolume=a:b:c:d", Error: `10.conf:3: EncryptedVolume=: extra option "d" is not fixate-volume-key`, Reference: Ignores},
		{Text: "Type=home\nEncryptedVolume=a:b:c::e", Error: `10.conf:3: EncryptedVolume=: "a:b:c::e" has more than name, key file, options and extra options (put what contains a colon into quotes)`, Reference: Ignores},
		{Text: "Type=home\nEncryptedVolume=\"a", Error: `10.conf:3: EncryptedVolume=: the quote " in "\"a" is not closed`, Reference: Ignores},
		{Text: "Type=home\nEncryptedVolume=\"a b\"", Error: `10.conf:3: EncryptedVolume=: "a b" contains a blank, which crypttab(5) has no way to write`, Reference: Accepts, Reason: "the crypttab that it writes cannot be read"},
	}
}
