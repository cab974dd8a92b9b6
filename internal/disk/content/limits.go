package content

// MaxEntries is how many entries a reader of a foreign file system takes, so
// that a hostile one cannot use up the memory.
const MaxEntries = 4 << 20
