//! Functions compiled twice: portably and for AVX2.

/// Defines `$name`, which calls `$portable` (an `#[inline(always)]` function), compiled for AVX2 if the processor supports it.
macro_rules! with_avx2 {
    ($(#[$about:meta])* $visibility:vis fn $name:ident = $portable:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?) => {
        $(#[$about])*
        $visibility fn $name($($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn compiled_for_avx2($($argument: $kind),*) $(-> $result)? {
                    $portable($($argument),*)
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    return unsafe { compiled_for_avx2($($argument),*) };
                }
            }
            $portable($($argument),*)
        }
    };
}

pub(super) use with_avx2;
