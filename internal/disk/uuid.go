package disk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/google/uuid"
)

// All identifiers of an image come from its seed, as systemd-repart(8) has it:
// the HMAC-SHA256 of a token with a UUID as key, cut to 16 bytes and marked as
// a random (version 4) UUID. The tokens below were found by comparing images.
const (
	tokenDisk       = "disk-uuid"
	tokenFileSystem = "file-system-uuid"
	tokenVerity     = "verity-uuid"
	tokenSalt       = "verity-salt"
	tokenLUKS       = "luks-uuid"
)

// DiskUUID is the identifier of the disk made with a seed.
func DiskUUID(seed uuid.UUID) uuid.UUID {
	return derive(seed, []byte(tokenDisk))
}

// PartitionUUID is the identifier of the n-th partition of a type, counted
// from zero, on the disk made with a seed.
func PartitionUUID(seed, partitionType uuid.UUID, n int) uuid.UUID {
	token := append([]byte(nil), partitionType[:]...)
	if n > 0 {
		token = binary.LittleEndian.AppendUint64(token, uint64(n))
	}
	return derive(seed, token)
}

// FileSystemUUID is the identifier of the file system on a partition. For
// partitions of a verity set, whose own identifier is known only once the file
// system is finished, partition is what PartitionUUID gives.
func FileSystemUUID(partition uuid.UUID) uuid.UUID {
	return derive(partition, []byte(tokenFileSystem))
}

// VerityUUID is the identifier in the verity superblocks on a disk.
func VerityUUID(seed uuid.UUID) uuid.UUID {
	return derive(seed, []byte(tokenVerity))
}

// VeritySalt is the 32 byte salt of the verity hashes on a disk.
func VeritySalt(seed uuid.UUID) []byte {
	return keyed(seed, []byte(tokenSalt))
}

// LUKSUUID is the identifier of the encrypted volume on a partition, which is
// given as for FileSystemUUID.
func LUKSUUID(partition uuid.UUID) uuid.UUID {
	return derive(partition, []byte(tokenLUKS))
}

// verityUUIDs are the identifiers of the data and the hash partition of a
// verity set: the two ends of its root hash.
func verityUUIDs(rootHash []byte) (data, hash uuid.UUID) {
	copy(data[:], rootHash)
	copy(hash[:], rootHash[len(rootHash)-16:])
	return data, hash
}

func keyed(key uuid.UUID, token []byte) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write(token)
	return mac.Sum(nil)
}

func derive(key uuid.UUID, token []byte) uuid.UUID {
	var id uuid.UUID
	copy(id[:], keyed(key, token))
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
