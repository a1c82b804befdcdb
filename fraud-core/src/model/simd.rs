//! Which instruction set this processor has, of those that the hot loops are compiled for.

/// An instruction set that was found on this processor. Only [`Level::detect`] makes the ones beyond the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(Set);

/// What a [`Level`] stands for. By itself no proof that the processor has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    Baseline,
    /// AVX2, FMA, BMI1 and BMI2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL, and all of the above.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    pub(super) const BASELINE: Self = Self(Set::Baseline);

    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let narrow = is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if narrow && wide {
                return Self(Set::Avx512);
            }
            if narrow {
                return Self(Set::Avx2);
            }
        }
        Self::BASELINE
    }

    /// What to choose the code by.
    #[inline]
    pub(super) fn set(self) -> Set {
        self.0
    }

    /// Every level of this processor, for tests that compare them.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Self::BASELINE];
        #[cfg(target_arch = "x86_64")]
        if Self::detect() == Self(Set::Avx512) {
            all.push(Self(Set::Avx2));
        }
        if Self::detect() != Self::BASELINE {
            all.push(Self::detect());
        }
        all
    }
}
