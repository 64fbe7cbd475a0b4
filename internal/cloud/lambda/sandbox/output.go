//go:build unix

package sandbox

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"syscall"
)

// maxLine is where a line without an end is cut: the longest log event.
const maxLine = 256 << 10

// An output reads what a process writes, line by line. It reads in the
// background, and at once when asked to, so that what was written before an
// invocation was answered is part of that invocation's log.
type output struct {
	writer *os.File // the process's end
	reader *os.File
	line   func(string)
	done   chan struct{} // closed when the reader has ended; nil before start

	mu     sync.Mutex
	rest   []byte // of the last line
	buffer []byte
	eof    bool
}

func newOutput(line func(string)) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &output{writer: w, reader: r, line: line, buffer: make([]byte, 32<<10)}, nil
}

// start reads until the pipe is closed; the process has its own copy of the writer.
func (o *output) start() {
	_ = o.writer.Close()
	o.done = make(chan struct{})
	go func() {
		defer close(o.done)
		conn, err := o.reader.SyscallConn()
		if err != nil {
			return
		}
		// The function returns false to be called again when there is more.
		_ = conn.Read(func(fd uintptr) bool { return o.read(fd) })
	}()
}

// read takes what is there; it returns true at the end of the pipe.
func (o *output) read(fd uintptr) (end bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.eof {
		n, err := syscall.Read(int(fd), o.buffer)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err != nil || n == 0:
			o.eof = true
		default:
			o.split(o.buffer[:n])
		}
	}
	return true
}

func (o *output) split(b []byte) {
	o.rest = append(o.rest, b...)
	for {
		i := bytes.IndexByte(o.rest, '\n')
		if i < 0 && len(o.rest) < maxLine {
			return
		}
		if i < 0 || i > maxLine {
			i = maxLine - 1
			o.emit(o.rest[:i+1])
		} else {
			o.emit(bytes.TrimSuffix(o.rest[:i], []byte("\r")))
		}
		o.rest = append(o.rest[:0], o.rest[i+1:]...)
	}
}

func (o *output) emit(line []byte) {
	if len(line) > 0 {
		o.line(string(line))
	}
}

// drain reads what has been written so far and ends an open line.
func (o *output) drain() {
	if conn, err := o.reader.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { o.read(fd) }) // closed: nothing is left
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.emit(o.rest)
	o.rest = o.rest[:0]
}

// close reads what is left and releases the pipe. A process that outlived its
// group and still holds the other end cannot keep it open.
func (o *output) close() {
	o.drain()
	_ = o.writer.Close() // closed already if start was called
	_ = o.reader.Close()
	if o.done != nil {
		<-o.done
	}
}
