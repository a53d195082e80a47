// Package migrations holds the SQL of every table of the gateway's one store.
//
// Its noun is the migration: one file NNNN_verb_noun.sql, one concern, applied once, in
// order of its number, and never edited after a release. There is no way down: a mistake is
// mended by the next number. It refuses dialects: a file is one text that SQLite and
// PostgreSQL both take, with BIGINT for whole numbers (minor units, microseconds since
// 1970, 0 and 1), TEXT, BYTEA for bytes, and CHECKs for whatever must never be true of
// money, such as a negative balance. No floating-point column, no SERIAL, no TIMESTAMP, no
// BOOLEAN: what the engines take differently is left out.
//
// Numbers 0001 to 0009 are the store's own tables; every package that owns tables takes the
// next ten.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed *.sql
var files embed.FS

// Files is the folder of all migrations.
func Files() fs.FS { return files }
