package kafka

// murmur2 is the hash of the Java client's default partitioner, so that a key goes to the
// same partition whoever publishes it.
func murmur2(key string) uint32 {
	const m = 0x5bd1e995
	h := uint32(0x9747b28c) ^ uint32(len(key)) //nolint:gosec // as Java does
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h = h*m ^ k
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// partitionOf is where a key belongs.
func partitionOf(key string, partitions int) int32 {
	return int32(murmur2(key) & 0x7fffffff % uint32(partitions)) //nolint:gosec // less than partitions
}
