package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
)

// Confirm asks a question that only y or yes answers with yes; the end of the
// input is no, and so are ^C and SIGTERM, which is why the command ends well
// and on a line of its own.
func (a *App) Confirm(ctx context.Context, question string) (bool, error) {
	interrupt, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	fmt.Fprintf(a.Out.Text(), "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(a.In, 1024)).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return true, nil
		}
		return false, nil
	case <-interrupt.Done():
		a.Println("")
		return false, ctx.Err()
	}
}
