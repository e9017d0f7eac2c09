package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-go/waybill/pubsub"
	"github.com/waybill-go/waybill/pubsub/driver"
)

// Error is one fault of a file.
type Error struct {
	// File is its path.
	File string
	// Line and Column count from 1; zero: the file as a whole.
	Line, Column int
	// Key is where in the file's structure: "topics.orders.kind"; may be empty.
	Key string
	// Err says what is wrong, and has the code.
	Err error
}

func (e *Error) Error() string {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	if e.Key != "" {
		at += ": " + e.Key
	}
	return at + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode returns the cause's code.
func (e *Error) ErrorCode() pubsub.Code { return pubsub.CodeOf(e.Err) }

// A place is where a key or a value stands.
type place struct{ line, column int }

// faults gathers all that is wrong with a file.
type faults struct {
	file   string
	places map[string]place // of keys
	list   []*Error
}

// at adds a fault of a key that the file has, or of the nearest one around it.
func (f *faults) at(key string, err error) {
	f.list = append(f.list, locate(f.file, f.places, key, err))
}

func (f *faults) invalid(key, format string, args ...any) {
	f.at(key, invalid(format, args...))
}

// err joins the faults in the order of the file.
func (f *faults) err() error {
	list := slices.Clone(f.list)
	slices.SortStableFunc(list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, len(list))
	for i, e := range list {
		errs[i] = e
	}
	return errors.Join(errs...)
}

func locate(file string, places map[string]place, key string, err error) *Error {
	e := &Error{File: file, Key: key, Err: err}
	for k := key; k != ""; k = parent(k) {
		if p, ok := places[k]; ok {
			e.Line, e.Column = p.line, p.column
			break
		}
	}
	return e
}

// invalid makes a cause that is the file's fault.
func invalid(format string, args ...any) error {
	return driver.Errorf(driver.CodeInvalid, format, args...)
}

// nearest ends a sentence about a misspelt word.
func nearest(word string, known []string) string {
	if near := driver.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
