package verity

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// inOrder has work done on 0 to n-1 side by side and calls take with the
// results in that order, one at a time. newWorker is called for each of the
// workers, so that each can have buffers of its own. No more than a few results
// per worker wait to be taken.
func inOrder[T any](ctx context.Context, n int64, newWorker func() func(i int64) (T, error), take func(T) error) error {
	type job struct {
		i    int64
		done chan T
	}
	workers := runtime.GOMAXPROCS(0)
	jobs, pending := make(chan job), make(chan job, 2*workers)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(jobs)
		defer close(pending)
		for i := range n {
			j := job{i, make(chan T, 1)}
			for _, queue := range []chan job{pending, jobs} {
				select {
				case queue <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			work := newWorker()
			for j := range jobs {
				result, err := work(j.i)
				if err != nil {
					return err
				}
				j.done <- result
			}
			return nil
		})
	}
	g.Go(func() error {
		for j := range pending {
			select {
			case result := <-j.done:
				if err := take(result); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}
