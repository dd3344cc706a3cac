package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// progress shows how far the jobs are: on a terminal in one line that is written over, and gone at the end; else in a line
// every tenth.
type progress struct {
	out      io.Writer
	terminal bool
	total    int

	mu    sync.Mutex
	shown int // jobs, or tenths of them
}

const barWidth = 40

func (p *progress) show(ended int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		if ended > p.shown {
			p.shown = ended
			filled := barWidth * ended / p.total
			_, _ = fmt.Fprintf(p.out, "\r%s%s %d/%d jobs", strings.Repeat("█", filled), strings.Repeat("░", barWidth-filled), ended, p.total)
		}
		return
	}
	if tenth := ended * 10 / p.total; tenth > p.shown {
		p.shown = tenth
		_, _ = fmt.Fprintf(p.out, "%d/%d jobs\n", ended, p.total)
	}
}

func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		_, _ = io.WriteString(p.out, "\r\x1b[K")
	}
}
