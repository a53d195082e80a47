// Package tidy holds tests about the source itself: the import table, package comments, the
// purity of the cores, and sizes. What a linter can check is in .golangci.yml; this is the
// rest. It has no code to import.
package tidy
