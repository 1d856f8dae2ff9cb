// Package steps tells what a client does, a line a step, and ends it at the first that goes wrong.
package steps

import (
	"context"
	"fmt"
	"os"
	"time"
)

var done int

// OnFault is done before a fault ends the client: what it started would outlive it.
var OnFault = func() {}

// Do takes a step; what it finds wrong ends the client.
func Do(name string, step func() error) {
	if err := step(); err != nil {
		fmt.Printf("FAILED %s\n  %v\n", name, err)
		OnFault()
		os.Exit(1)
	}
	done++
	fmt.Println("  " + name)
}

// End says how many steps were taken.
func End() {
	fmt.Printf("ok %d steps\n", done)
}

// Eventually asks until there is nothing wrong, and gives what is wrong when the time is over.
func Eventually(ctx context.Context, within time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", within, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Equal finds fault with anything but what was expected.
func Equal[T comparable](what string, got, expected T) error {
	if got != expected {
		return fmt.Errorf("%s: expected %v, got %v", what, expected, got)
	}
	return nil
}

// Every gives the first fault of several.
func Every(faults ...error) error {
	for _, fault := range faults {
		if fault != nil {
			return fault
		}
	}
	return nil
}
