//! `memcpy`, `memmove`, `memset`, `memcmp` and `bcmp` for static binaries on x86-64, in place of musl's. Whatever program uses
//! this crate has them; there is nothing to call.
//!
//! musl copies by `rep movsq`, with single bytes before and after it, and compares byte by byte. A processor takes dozens of
//! cycles to begin a `rep`, and several for each of these bytes; a request copies and compares more than a hundred small
//! pieces. Other C libraries have functions for each kind of processor; these have one for all, with the registers of 16 bytes
//! that every x86-64 has, and leave long copies to `rep` as well. On other processors, and with other C libraries, this crate
//! is empty. No crate was found that does the same: those that have these functions use `rep` for all lengths.
