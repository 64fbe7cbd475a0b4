package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// TestBodiesAreReadAsByReadAll compares what is read with io.ReadAll, whatever
// length was announced and however the body comes.
func TestBodiesAreReadAsByReadAll(t *testing.T) {
	broken := errors.New("broken")
	rapid.Check(t, func(t *rapid.T) {
		body := bytes.Repeat([]byte("body"), rapid.IntRange(0, 6000).Draw(t, "size"))
		length := rapid.OneOf(rapid.Just(int64(len(body))), rapid.Int64Range(-1, 2*announced)).Draw(t, "announced")
		how := rapid.SampledFrom([]func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.HalfReader, iotest.DataErrReader,
			func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(broken)) },
		}).Draw(t, "how")
		got, err := readAll(how(bytes.NewReader(body)), length)
		want, wantErr := io.ReadAll(how(bytes.NewReader(body)))
		if !bytes.Equal(got, want) || !errors.Is(err, wantErr) {
			t.Fatalf("read %d bytes of %d, %v, want %v", len(got), len(want), err, wantErr)
		}
	})
}
