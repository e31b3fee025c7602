//! Which instructions the processor has.

/// A set of instructions that some function has a version for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Whatever the target has anyway.
    Portable,
    /// x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 and its 8-bit dot products.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// 64-bit ARM with 8-bit dot products.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
}

impl Isa {
    /// All that this processor can run, the fastest last.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut)]
        let mut found = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if avx2 {
                found.push(Isa::Avx2);
            }
            if avx2 && avx512 {
                found.push(Isa::Avx512Vnni);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            found.push(Isa::NeonDot);
        }
        found
    }

    /// The fastest that this processor can run.
    pub fn best() -> Isa {
        Isa::available().pop().unwrap_or(Isa::Portable)
    }

    /// What is added to a code before it is stored: the dot products of AVX-512 take unsigned numbers on one side.
    pub(super) fn code_offset(self) -> u8 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => 128,
            _ => 0,
        }
    }
}

/// Functions compiled for each kind of lanes from one body.
macro_rules! per_isa {
    ($($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) = $body:ident;)*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name(isa: $crate::isa::Isa, $($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($argument: $kind),*) { $body::<$crate::lanes::x86::Avx2>($($argument),*) }
                match isa {
                    $crate::isa::Isa::Portable => $body::<$crate::lanes::Plain>($($argument),*),
                    // Wider registers gain nothing where so little is done with each number.
                    $crate::isa::Isa::Avx2 | $crate::isa::Isa::Avx512Vnni => {
                        // SAFETY: an `Isa` is only made for what the processor has, and both bring AVX2.
                        unsafe { avx2($($argument),*) }
                    }
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = isa;
                $body::<$crate::lanes::Best>($($argument),*)
            }
        }
    )*};
}
pub(crate) use per_isa;
