package wire

// Digest is the hex SHA-256 that signatures use.
func Digest(s string) string { return digest([]byte(s)) }
