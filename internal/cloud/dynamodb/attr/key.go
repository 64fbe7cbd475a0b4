package attr

// AppendScalar appends the bytes of a checked key value (S, N or B) such that
// values of one type sort as DynamoDB sorts them.
func AppendScalar(b []byte, v Value) []byte {
	switch v := v.(type) {
	case *S:
		return append(b, v.Value...)
	case *B:
		return append(b, v.Value...)
	case *N:
		n, _ := ParseNumber(v.Value) // checked before
		return n.appendOrdered(b)
	}
	return b
}

// AppendOrdered appends a key value so that what follows does not disturb the
// order: zero bytes are escaped, and the end sorts before everything.
func AppendOrdered(b []byte, v Value) []byte {
	return append(AppendPrefix(b, v), 0, 1)
}

// AppendPrefix is AppendOrdered without the end: the common beginning of all
// strings or binaries that begin with v.
func AppendPrefix(b []byte, v Value) []byte {
	from := len(b)
	b = AppendScalar(b, v)
	for i := from; i < len(b); i++ {
		if b[i] == 0 {
			b = append(b, 0)
			copy(b[i+2:], b[i+1:])
			b[i+1] = 0xff
			i++
		}
	}
	return b
}
