package app

import "sync"

// parallelism bounds how many objects of a batch are worked on at once.
const parallelism = 50

// Each runs work for every name, many at a time, and calls done for each in
// the order of names as soon as that order allows.
func Each(names []string, work func(name string) error, done func(name string, err error)) {
	EachOf(parallelism, names, work, done)
}

// EachOf is Each with another bound, for work that is mostly waiting.
func EachOf(limit int, names []string, work func(name string) error, done func(name string, err error)) {
	results := make([]chan error, len(names))
	for i := range results {
		results[i] = make(chan error, 1)
	}
	slots := make(chan struct{}, limit)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i, name := range names {
			slots <- struct{}{}
			wg.Go(func() {
				results[i] <- work(name)
				<-slots
			})
		}
	})
	for i, name := range names {
		done(name, <-results[i])
	}
	wg.Wait()
}

// ForEach is the usual batch: print the name on success, the error otherwise,
// and end with 1 if anything failed.
func (a *App) ForEach(names []string, work func(name string) error) error {
	var batch Batch
	Each(names, work, func(name string, err error) {
		batch.Add(a, err)
		if err == nil {
			a.Println(name)
		}
	})
	return batch.Err()
}
