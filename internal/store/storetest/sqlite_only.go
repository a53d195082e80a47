//go:build !integration

package storetest

func runPostgres[T runner[T]](T, func(T, string)) {}
