//! The package of the end-to-end tests; it has no code of its own.
