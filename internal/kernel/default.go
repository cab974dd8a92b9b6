package kernel

// defaultModules are what "default" stands for: what an initrd needs to find the
// root file system on most machines, and to ask for a passphrase before that.
// The patterns are those that the reference's initrd configuration has.
var defaultModules = []string{
	// Disks and what they are attached to.
	"ahci", "nvme", "nvmet-tcp", "vmd", "scsi_mod", "sd_mod", "sr_mod", "cdrom", "sg", "usb-storage",
	"loop", "zram", "mei",
	// Volumes made of others.
	"dm-crypt", "dm-integrity", "dm-mod", "dm-multipath", "dm-raid", "dm-verity", "raid[0-9]*",
	// File systems.
	"autofs4", "binfmt_misc", "btrfs", "configfs", "efi-pstore", "efivarfs", "erofs", "ext4", "overlay",
	"squashfs", "vfat", "xfs", "/fs/nls/",
	// Virtual machines.
	"kvm", "qemu_fw_cfg", "virtio_balloon", "virtio_blk", "virtio_console", "virtio_dma_buf", "virtio_mmio",
	"virtio_net", "virtio_pci", "virtio_scsi", "virtio-rng", "virtiofs", "vmw_vsock_virtio_transport", "vsock",
	// Keyboards, buses and screens.
	"atkbd", "evdev", "hid-generic", "i2c-algo-bit", "i2c_hid_acpi", "i2c-mux", "i2c-smbus", "i8042", "parport",
	"serio", "typec_ucsi", "ucsi_acpi", "usbhid", "video", "wmi", "wmi-bmof", "xhci-pci-renesas",
	// Security chips.
	"tpm_tis", "tpm_vtpm_proxy",
	// Processors and firmware.
	"amd_atl", "amd_ctl", "amd-pmc", "amd64_edac", "dmi-sysfs", "edac_mce_amd", "firmware_attributes_class",
	"intel_pmc_ssram_telemetry", "intel_rapl_common", "intel-uncore-frequency-common", "intel-vsec",
	"platform_profile", "pmt_telemetry", "rapl", "skx_edac_common", "watchdog",
	// Networks.
	"cfg80211", "libphy", "mdio_devres", "nfnetlink", "thunderbolt_net", "x_tables",
	// Cryptography.
	"crc-ccitt", "crypto/", "-/drivers/crypto/", "ccp_crypto",
}
