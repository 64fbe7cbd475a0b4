package ui

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Mode is how progress is shown.
type Mode int

// The modes of progress.
const (
	Silent Mode = iota // not at all
	Plain              // one line with a time for each change, and a heartbeat
	Live               // a tree that is drawn again and again; needs a terminal
)

// An Outcome is how a task ended.
type Outcome int

// The outcomes of a task.
const (
	Unchanged Outcome = iota
	Changed
	Skipped
	Failed
)

// heartbeat is the longest silence of plain progress: long enough not to fill
// logs, short enough for systems that end what has been silent for a minute.
const heartbeat = 15 * time.Second

// frame is the time between two drawings of live progress.
const frame = 100 * time.Millisecond

// ProgressOptions say where and how progress is shown.
type ProgressOptions struct {
	Mode   Mode
	Colour bool
	// Size tells the terminal's size whenever a frame is drawn; nil: 80 by 24.
	Size func() (width, height int)
}

// Progress shows tasks that run at the same time. Its methods may be called
// from several goroutines. It must be closed before anything else is written
// to the same stream.
type Progress struct {
	w    io.Writer
	o    ProgressOptions
	page *Page
	done chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	title  string
	total  int
	tasks  map[string]*task
	order  []string // of Start
	lines  int      // drawn and still to be erased
	last   time.Time
	closed bool
}

type task struct {
	id      string
	note    string
	started time.Time
	took    time.Duration
	ended   bool
	outcome Outcome
}

// NewProgress starts to show progress on w. Close ends it.
func NewProgress(w io.Writer, o ProgressOptions) *Progress {
	if o.Size == nil {
		o.Size = func() (int, int) { return 80, 24 }
	}
	p := &Progress{w: w, o: o, page: NewPage(w, o.Colour, 0), done: make(chan struct{}), tasks: map[string]*task{}, last: time.Now()}
	if o.Mode != Silent {
		p.wg.Go(p.run)
	}
	return p
}

func (p *Progress) run() {
	every := frame
	if p.o.Mode == Plain {
		every = heartbeat
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
			p.mu.Lock()
			if p.o.Mode == Live {
				p.draw()
			} else {
				p.beat()
			}
			p.mu.Unlock()
		}
	}
}

// Title begins a new part of the work, of so many tasks (0: unknown).
func (p *Progress) Title(title string, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.o.Mode == Live {
		p.settle()
	}
	p.title, p.total = title, total
	p.tasks, p.order = map[string]*task{}, nil
	p.plain(title)
}

// Start says that a task has begun. Its id is "group/name", or a plain name.
func (p *Progress) Start(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.tasks[id]; known {
		return
	}
	p.tasks[id] = &task{id: id, started: time.Now()}
	p.order = append(p.order, id)
}

// Note says what a running task is doing or waiting for.
func (p *Progress) Note(id, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, known := p.tasks[id]
	if !known || t.ended || t.note == text {
		return
	}
	t.note = text
	p.plain(id + ": " + text)
}

// End says how a task ended; text says what was done or why it failed.
func (p *Progress) End(id string, outcome Outcome, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, known := p.tasks[id]
	if !known {
		t = &task{id: id, started: time.Now()}
		p.tasks[id], p.order = t, append(p.order, id)
	}
	if t.ended {
		return
	}
	t.ended, t.outcome, t.note, t.took = true, outcome, text, time.Since(t.started)
	if outcome != Unchanged {
		p.plain(fmt.Sprintf("%s: %s (%s)", id, text, Duration(t.took)))
	}
}

// Message writes a line that stays, whatever is drawn below it.
func (p *Progress) Message(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.o.Mode == Live {
		p.erase()
		p.page.Line(text)
		p.draw()
		return
	}
	p.plain(text)
}

// Close shows the last state and stops. It may be called more than once.
func (p *Progress) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	close(p.done)
	if p.o.Mode == Live {
		p.settle()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Progress) plain(text string) {
	if p.o.Mode != Plain || p.closed {
		return
	}
	p.last = time.Now()
	p.page.Line(p.last.Format(time.TimeOnly), Clean(text))
}

// beat writes what is still running, if nothing else was written for a while.
func (p *Progress) beat() {
	running := p.running()
	if len(running) == 0 || time.Since(p.last) < heartbeat/2 {
		return
	}
	names := make([]string, 0, 3)
	for _, t := range running[:min(3, len(running))] {
		names = append(names, t.id)
	}
	if more := len(running) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	p.plain("still working on " + strings.Join(names, ", ") + ", the first for " + Duration(time.Since(running[0].started)))
}

// running lists the tasks that have not ended, the oldest first.
func (p *Progress) running() []*task {
	var list []*task
	for _, id := range p.order {
		if t := p.tasks[id]; !t.ended {
			list = append(list, t)
		}
	}
	slices.SortStableFunc(list, func(a, b *task) int { return a.started.Compare(b.started) })
	return list
}

// Duration writes a duration as people read it: "340ms", "1.2s", "2m05s".
func Duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "0ms"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
}
