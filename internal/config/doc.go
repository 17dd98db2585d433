// Package config reads GRACE's one YAML file, strictly, and tells everything
// that is wrong with it in one pass.
//
// The way of a file:
//
//	bytes -> YAML nodes -> file (typed, defaults filled in) -> Config
//	         syntax        decode: unknown keys,               check: names that point
//	         problems      types, bounds                       nowhere, the stages' own rules
//
// Contract:
//   - A problem names file, line, column and key, says what is wrong, and hints
//     at what to do. Problems come in the order of the file. A warning never
//     keeps a file from being used.
//   - Config is nil exactly when there is a problem that is not a warning: a bad
//     file changes nothing, since the caller keeps the Config it has.
//   - A Config is plain data and is never changed after Parse. To reload is to
//     parse again and to swap.
//   - An empty file is valid, and with it GRACE only observes.
//   - The struct types behind the file (their tags yaml, doc, default, enum,
//     min, max, required, example) are the one source of the decoder, of Schema
//     and of Reference, so the three cannot drift apart. A stage's section is the
//     stage's own Config, with its own defaults and its own validation, which names
//     keys by grace.FieldError.
//   - Secrets are references, ${env:NAME} or ${file:PATH}. They are not resolved
//     here: whoever needs one calls grace.ExpandSecrets at the last moment.
package config
