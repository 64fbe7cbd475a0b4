//go:build unix

package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Processes launches native processes.
type Processes struct {
	log   *slog.Logger
	start chan func()
	once  sync.Once
	stop  chan struct{}
}

var _ Launcher = (*Processes)(nil)

// NewProcesses makes a launcher, which Close ends.
func NewProcesses(log *slog.Logger) *Processes {
	return &Processes{log: log, start: make(chan func()), stop: make(chan struct{})}
}

// Close ends the launcher; sandboxes are closed on their own.
func (l *Processes) Close() { close(l.stop) }

// spawn starts a command on a thread that lives as long as the launcher: the
// kernel ends the children of a thread that ends, not only those of a process.
func (l *Processes) spawn(cmd *exec.Cmd) error {
	l.once.Do(func() { go l.run() })
	done := make(chan error, 1)
	select {
	case l.start <- func() { done <- cmd.Start() }:
		return <-done
	case <-l.stop:
		return errors.New("the cloud is stopping")
	}
}

func (l *Processes) run() {
	launcherThread()
	for {
		select {
		case f := <-l.start:
			f()
		case <-l.stop:
			return
		}
	}
}

// A process is a running function with the server of its Runtime API.
type process struct {
	cmd    *exec.Cmd
	server *http.Server
	out    *output
	log    *slog.Logger
	token  string // the first part of every path of the Runtime API

	ready chan struct{} // closed at the first request for work
	work  chan *job
	ended chan struct{} // closed when the process has ended
	state *os.ProcessState
	peak  int64     // of memory, in bytes
	known time.Time // when peak was read

	mu      sync.Mutex
	init    *Failure // reported by the runtime while it initialised
	isReady bool
	current *job
}

// A job is an invocation under way.
type job struct {
	Invocation
	deadline time.Time
	result   chan Result // of size 1
}

// Launch implements [Launcher].
func (l *Processes) Launch(ctx context.Context, s Spec) (Sandbox, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a function: %w", err)
	}
	p := &process{log: l.log, token: rand.Text(), ready: make(chan struct{}), work: make(chan *job), ended: make(chan struct{})}
	if p.out, err = newOutput(s.Line); err != nil {
		return nil, errors.Join(fmt.Errorf("make pipe for a function: %w", err), listener.Close())
	}
	p.cmd = exec.Command(s.Command[0], s.Command[1:]...)
	p.cmd.Dir, p.cmd.SysProcAttr = s.Dir, attributes()
	p.cmd.Env = append(append([]string{}, s.Env...), "AWS_LAMBDA_RUNTIME_API="+listener.Addr().String()+"/"+p.token)
	p.cmd.Stdout, p.cmd.Stderr = p.out.writer, p.out.writer
	if err := l.spawn(p.cmd); err != nil {
		p.out.close()
		_ = listener.Close()
		return nil, &Failure{Type: InvalidEntry, Message: "Couldn't find valid bootstrap(s): " + err.Error()}
	}
	p.out.start()
	p.server = &http.Server{Handler: p.handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(l.log.Handler(), slog.LevelDebug)}
	go func() { _ = p.server.Serve(listener) }() // ends when the process is reaped
	go p.reap()
	return p.initialise(ctx, s.InitTimeout)
}

// initialise waits for the first request for work.
func (p *process) initialise(ctx context.Context, limit time.Duration) (Sandbox, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.ready:
		p.maxMemory()
		return p, nil
	case <-p.ended:
		return nil, p.exit()
	case <-timer.C:
		p.Close()
		return nil, timedOut(limit)
	case <-ctx.Done():
		p.Close()
		return nil, ctx.Err()
	}
}

// reap waits for the end of the process and ends what belongs to it.
func (p *process) reap() {
	_ = p.cmd.Wait()     // what is to say is in ProcessState
	p.killGroup()        // what the function left behind
	p.out.close()        // reads what is left
	_ = p.server.Close() // the runtime is gone
	p.state = p.cmd.ProcessState
	close(p.ended)
}

// kill ends the whole process group.
func (p *process) kill() {
	select {
	case <-p.ended: // the number may be another's by now
	default:
		p.killGroup()
	}
}

func (p *process) killGroup() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // gone already if it fails
}

// Close implements [Sandbox].
func (p *process) Close() {
	p.kill()
	<-p.ended
}

// Ended implements [Sandbox].
func (p *process) Ended() <-chan struct{} { return p.ended }

// exit is the failure of a process that has ended.
func (p *process) exit() *Failure {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.init != nil {
		return p.init
	}
	text := "Runtime exited without providing a reason"
	if !p.state.Success() {
		text = "Runtime exited with error: " + p.state.String()
	}
	return &Failure{Type: ExitError, Message: text}
}

// Invoke implements [Sandbox].
func (p *process) Invoke(in Invocation) Result {
	j := &job{Invocation: in, result: make(chan Result, 1)}
	start := time.Now()
	j.deadline = start.Add(in.Timeout)
	timer := time.NewTimer(in.Timeout)
	defer timer.Stop()
	var r Result
	select {
	case p.work <- j:
		select {
		case r = <-j.result:
		case <-p.ended:
			r = p.answered(j, p.exit)
		case <-timer.C:
			p.maxMemory()
			r = p.answered(j, func() *Failure { p.Close(); return timedOut(in.Timeout) })
		}
	case <-p.ended:
		r.Failure = p.exit()
	case <-timer.C:
		p.Close()
		r.Failure = timedOut(in.Timeout)
	}
	if r.Duration = time.Since(start); r.Failure != nil && r.Failure.Type == TimedOut {
		r.Duration = in.Timeout
	}
	// Asking the kernel costs as much as a short invocation: of one of many it
	// says little new.
	if r.MaxMemory = p.peak; r.Failure != nil || r.Duration > peakEvery/10 || time.Since(p.known) > peakEvery {
		r.MaxMemory = p.maxMemory()
	}
	// All that the function wrote before it answered is in the pipe by now.
	p.out.drain()
	return r
}

// answered is the answer that came just in time, or the failure.
func (p *process) answered(j *job, failure func() *Failure) Result {
	select {
	case r := <-j.result:
		return r
	default:
		return Result{Failure: failure()}
	}
}

// peakEvery is how old the known peak of memory may be after a short invocation.
const peakEvery = time.Second

// maxMemory is the most that the process has used so far. Of a process that
// has ended it is what was known before: the kernel counts the memory of the
// cloud itself, from which the process was forked, among what it used in all.
func (p *process) maxMemory() int64 {
	select {
	case <-p.ended:
	default:
		p.peak, p.known = max(p.peak, peakMemory(p.cmd.Process.Pid)), time.Now()
	}
	return p.peak
}
