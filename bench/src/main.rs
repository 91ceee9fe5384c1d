//! The worker: a process that a benchmark harness starts beside those of other libraries and drives line by line, see `protocol.rs`.
//!
//! The environment says how: `PEER_THREADS` (1 unless set), and `PEER_VARIANT`, `native` (our own blocked layout at both ends of a layer) or
//! `nchw` (plain activations, as other libraries take and give them).

#![forbid(unsafe_code)]

mod job;
mod protocol;
mod resident;
mod training;

use std::env;
use std::io;

use anyhow::Context;
use job::Variant;
use svertka::{Cpu, kernels::Isa};

fn main() -> anyhow::Result<()> {
    // A wrong name in the environment would otherwise count as none.
    Isa::forced()?;
    let text = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let threads = text("PEER_THREADS", "1").parse().context("PEER_THREADS: expected a number")?;
    let variant: Variant = text("PEER_VARIANT", "native").parse()?;
    let cpu = Cpu::new(threads);
    protocol::serve(io::stdin().lock(), io::stdout().lock(), |keys| job::set_up(keys, variant, &cpu))
}
