package measure

import (
	"errors"
	"sync"
)

// Many calls send n times, from so many goroutines, of which each ends at its first error.
func Many(goroutines, n int, send func() error) error {
	errs := make([]error, goroutines)
	var wait sync.WaitGroup
	for g := range goroutines {
		wait.Go(func() {
			for i := g; i < n && errs[g] == nil; i += goroutines {
				errs[g] = send()
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
