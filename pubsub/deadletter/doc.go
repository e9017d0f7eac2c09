// Package deadletter reads what dead-letter topics hold, and brings it back.
//
// List shows letters and takes nothing. Redrive publishes those that a filter picks to the
// topics where they failed, each confirmed there before it is settled here, so that
// a process that is killed in the middle loses nothing: what it had published and not
// settled is published once more by the next.
//
// A redriven message is as it was first published, but for three headers: how often it
// was redriven, by which run, and for which group. Other groups of its topic pass
// it over. Its attempts begin at 1.
package deadletter
