package config

// validationSettings returns the settings of [Validation].
func validationSettings() []*Setting {
	return []*Setting{
		{
			Name: "SecureBoot", Section: "Validation", Scope: Local, Long: "secure-boot",
			Help:  "sign what the firmware starts",
			kind:  boolean,
			built: full,
		},
		{
			Name: "SecureBootAutoEnroll", Section: "Validation", Scope: Local, Long: "secure-boot-auto-enroll",
			Help:    "enroll the key for secure boot when the image first starts",
			kind:    boolean,
			Default: true,
			built:   full, // does nothing by itself
		},
		{
			Name: "SecureBootKey", Section: "Validation", Scope: Universal, Long: "secure-boot-key",
			Help:  "key for secure boot",
			kind:  keyOrFile(true),
			Paths: []string{"mkosi.key"},
			built: full, // does nothing by itself
		},
		{
			Name: "SecureBootKeySource", Section: "Validation", Scope: Universal, Long: "secure-boot-key-source",
			Help:    "where the key for secure boot is",
			kind:    keySource,
			Default: KeySource{Type: "file"},
			built:   full, // does nothing by itself
		},
		{
			Name: "SecureBootCertificate", Section: "Validation", Scope: Universal, Long: "secure-boot-certificate",
			Help:  "certificate for secure boot",
			kind:  keyOrFile(false),
			Paths: []string{"mkosi.crt"},
			built: full, // does nothing by itself
		},
		{
			Name: "SecureBootCertificateSource", Section: "Validation", Scope: Universal, Long: "secure-boot-certificate-source",
			Help:    "where the certificate for secure boot is",
			kind:    certificateSource,
			Default: KeySource{Type: "file"},
			built:   full, // does nothing by itself
		},
		{
			Name: "SecureBootSignTool", Section: "Validation", Scope: Local, Long: "secure-boot-sign-tool",
			Help:    "program to sign for secure boot with",
			kind:    enum("", "", SignToolAuto, SignToolSbsign, SignToolSystemdSbsign),
			Default: SignToolAuto,
			built:   full, // does nothing by itself
		},
		{
			Name: "Verity", Section: "Validation", Scope: Local, Long: "verity",
			Help:    "protect the file system with dm-verity and a signature",
			kind:    enum(VeritySigned, VerityDisabled, VerityDisabled, VerityHash, VeritySigned, VerityDefer, VerityAuto),
			Default: VerityAuto,
			built:   full,
		},
		{
			Name: "VerityKey", Section: "Validation", Scope: Universal, Long: "verity-key",
			Help:  "key to sign dm-verity with",
			kind:  keyOrFile(true),
			Paths: []string{"mkosi.key"}, built: full,
		},
		{
			Name: "VerityKeySource", Section: "Validation", Scope: Universal, Long: "verity-key-source",
			Help:    "where the key for dm-verity is",
			kind:    keySource,
			Default: KeySource{Type: "file"},
			built:   full,
		},
		{
			Name: "VerityCertificate", Section: "Validation", Scope: Universal, Long: "verity-certificate",
			Help:  "certificate to sign dm-verity with",
			kind:  keyOrFile(false),
			Paths: []string{"mkosi.crt"}, built: full,
		},
		{
			Name: "VerityCertificateSource", Section: "Validation", Scope: Universal, Long: "verity-certificate-source",
			Help:    "where the certificate for dm-verity is",
			kind:    certificateSource,
			Default: KeySource{Type: "file"},
			built:   full,
		},
		{
			Name: "SignExpectedPcr", Section: "Validation", Scope: Local, Long: "sign-expected-pcr",
			Help:    "sign the measurements that a unified kernel image will make",
			kind:    feature,
			Default: Auto,
			built:   full,
		},
		{
			Name: "SignExpectedPcrKey", Section: "Validation", Scope: Inherit, Long: "sign-expected-pcr-key",
			Help:  "key to sign expected measurements with",
			kind:  keyOrFile(true),
			Paths: []string{"mkosi.key"},
			built: full, // does nothing by itself
		},
		{
			Name: "SignExpectedPcrKeySource", Section: "Validation", Scope: Inherit, Long: "sign-expected-pcr-key-source",
			Help:    "where the key for expected measurements is",
			kind:    keySource,
			Default: KeySource{Type: "file"},
			built:   full, // does nothing by itself
		},
		{
			Name: "SignExpectedPcrCertificate", Section: "Validation", Scope: Inherit, Long: "sign-expected-pcr-certificate",
			Help:  "certificate to sign expected measurements with",
			kind:  keyOrFile(false),
			Paths: []string{"mkosi.crt"},
			built: full, // does nothing by itself
		},
		{
			Name: "SignExpectedPcrCertificateSource", Section: "Validation", Scope: Inherit, Long: "sign-expected-pcr-certificate-source",
			Help:    "where the certificate for expected measurements is",
			kind:    certificateSource,
			Default: KeySource{Type: "file"},
			built:   full, // does nothing by itself
		},
		{
			Name: "SignInitrdPCRs", Section: "Validation", Scope: Local, Long: "sign-initrd-pcrs",
			Help:    "sign a policy that holds only in the initrd",
			kind:    feature,
			Default: Auto,
			built:   full,
		},
		{
			Name: "Passphrase", Section: "Validation", Scope: Local, Long: "passphrase",
			Help:  "file with the passphrase of encrypted partitions",
			kind:  pathKind(pathRule{secret: true}),
			Paths: []string{"mkosi.passphrase"},
			built: full, // does nothing by itself
		},
		{
			Name: "Checksum", Section: "Validation", Scope: Local, Long: "checksum",
			Help:     "write checksums of the outputs",
			kind:     boolean,
			fallback: defaultChecksum,
			NoValue:  "yes", OptionalValue: true,
		},
		{
			Name: "Sign", Section: "Validation", Scope: Local, Long: "sign",
			Help: "sign the checksums",
			kind: boolean,
		},
		{
			Name: "Key", Section: "Validation", Scope: Local, Long: "key",
			Help:  "OpenPGP key to sign the checksums with",
			kind:  text,
			built: full, // does nothing by itself
		},
		{
			Name: "OpenPGPTool", Section: "Validation", Scope: Local, Long: "openpgp-tool",
			Help:    "OpenPGP program to sign with",
			kind:    text,
			Default: "gpg",
			built:   full, // does nothing by itself
		},
	}
}
