//! Which instruction set and how many threads a kernel uses.

use std::sync::OnceLock;

use crate::simd::{Avx2, Avx512, Neon, Portable, Simd};
use crate::threads::Threads;

/// The environment variable that forces an instruction set: `portable`, `avx2`, `avx512` or `neon`.
pub const ISA_VARIABLE: &str = "SVERTKA_ISA";

/// An instruction set that this library has kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust; the compiler's baseline vectors.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F and AVX-512VL.
    Avx512,
    /// AArch64 with NEON.
    Neon,
}

/// An instruction set was asked for that is unknown or that this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ISA_VARIABLE}: expected one of {available:?}, received {received:?}")]
pub struct IsaError {
    /// What this CPU can run.
    pub available: Vec<&'static str>,
    /// What was asked for.
    pub received: String,
}

/// Work generic over the instruction set, for [`Isa::dispatch`].
pub trait WithSimd {
    /// What the work gives.
    type Output;
    /// The work. Implementations are `#[inline(always)]`, and so is all that they call with `simd`, or the vectors are not used.
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// All that this CPU can run, slowest first.
    pub fn available() -> Vec<Self> {
        let mut list = vec![Self::Portable];
        list.extend(Avx2::detect().map(|_| Self::Avx2));
        list.extend(Avx512::detect().map(|_| Self::Avx512));
        list.extend(Neon::detect().map(|_| Self::Neon));
        list
    }

    /// The one in use: what [`ISA_VARIABLE`] names, or the fastest. Read once; a bad name counts as not set (see [`Isa::forced`]).
    pub fn active() -> Self {
        static ACTIVE: OnceLock<Isa> = OnceLock::new();
        *ACTIVE.get_or_init(|| {
            let forced = Self::forced().ok().flatten();
            forced.or_else(|| Self::available().pop()).unwrap_or(Self::Portable)
        })
    }

    /// What [`ISA_VARIABLE`] asks for.
    ///
    /// # Errors
    /// Where it names nothing that this CPU can run.
    pub fn forced() -> Result<Option<Self>, IsaError> {
        let Some(value) = std::env::var_os(ISA_VARIABLE) else { return Ok(None) };
        let available = Self::available();
        match available.iter().find(|isa| value.eq_ignore_ascii_case(isa.name())) {
            Some(isa) => Ok(Some(*isa)),
            None => Err(IsaError {
                available: available.iter().map(|isa| isa.name()).collect(),
                received: value.to_string_lossy().into_owned(),
            }),
        }
    }

    /// Lower-case name, as [`ISA_VARIABLE`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// Runs `work` compiled for this instruction set; for the portable one where the CPU lacks it.
    #[inline]
    pub fn dispatch<W: WithSimd>(self, work: W) -> W::Output {
        match self {
            Self::Avx2 => {
                if let Some(simd) = Avx2::detect() {
                    return simd.run(work);
                }
            }
            Self::Avx512 => {
                if let Some(simd) = Avx512::detect() {
                    return simd.run(work);
                }
            }
            Self::Neon => {
                if let Some(simd) = Neon::detect() {
                    return simd.run(work);
                }
            }
            Self::Portable => {}
        }
        work.with_simd(Portable)
    }
}

/// The machine as kernels see it: an instruction set and a thread pool.
///
/// ```
/// let cpu = svertka_kernels::Cpu::new(2);
/// assert_eq!(cpu.threads.count(), 2);
/// ```
#[derive(Debug)]
pub struct Cpu {
    /// The instruction set.
    pub isa: Isa,
    /// The threads.
    pub threads: Threads,
}

impl Cpu {
    /// The active instruction set and `threads` threads; 0 means one for each core that the system offers.
    pub fn new(threads: usize) -> Self {
        Self::with_isa(Isa::active(), threads)
    }

    /// As [`Cpu::new`] with a chosen instruction set, for tests and measurements.
    pub fn with_isa(isa: Isa, threads: usize) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Self { isa, threads: Threads::new(if threads == 0 { cores() } else { threads }) }
    }
}
