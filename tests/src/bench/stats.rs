//! Order statistics of a few samples.

/// Measured values, sorted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut values: Vec<_> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

impl Samples {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that `percent` of a hundred samples do not exceed, by nearest rank: always a value that was
    /// measured. Without samples it is not a number.
    ///
    /// # Panics
    /// If `percent` is more than 100.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        assert!(percent <= 100, "a percentile is at most 100");
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The middle value, or the mean of the two in the middle.
    #[must_use]
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match (self.0.len(), self.0.get(middle)) {
            (_, None) => f64::NAN,
            (len, Some(upper)) if len % 2 == 1 => *upper,
            (_, Some(upper)) => f64::midpoint(self.0[middle - 1], *upper),
        }
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.percentile(100)
    }

    /// The smallest value.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.percentile(0)
    }
}

/// The interval in which the true share lies with 95 % confidence if `hits` of `tries` were seen, after Wilson.
#[must_use]
pub fn wilson(hits: usize, tries: usize) -> (f64, f64) {
    const Z: f64 = 1.96;
    let n = tries.max(1) as f64;
    let p = hits as f64 / n;
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    ((middle - half) / scale, (middle + half) / scale)
}

/// The median of `ours` divided by `theirs`, run by run: what both had to bear in the same run cancels out.
#[must_use]
pub fn median_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect::<Samples>().median()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn percentiles_are_measured_values_by_nearest_rank() {
        let hundred: Samples = (1..=100).rev().map(f64::from).collect();
        for (percent, expected) in [(0, 1.0), (1, 1.0), (50, 50.0), (95, 95.0), (99, 99.0), (100, 100.0)] {
            assert_eq!(hundred.percentile(percent).to_bits(), f64::to_bits(expected), "p{percent}");
        }
        assert_eq!(samples(&[3.0, 1.0, 2.0]).percentile(99).to_bits(), f64::to_bits(3.0));
        assert_eq!(samples(&[7.0]).percentile(1).to_bits(), f64::to_bits(7.0));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(samples(&[9.0, 1.0, 4.0]).median().to_bits(), f64::to_bits(4.0));
        assert_eq!(samples(&[9.0, 1.0, 4.0, 6.0]).median().to_bits(), f64::to_bits(5.0));
    }

    #[test]
    fn nothing_measured_is_not_a_number_and_what_is_none_does_not_count() {
        assert!(samples(&[]).median().is_nan() && samples(&[]).percentile(50).is_nan());
        let odd = samples(&[f64::NAN, 2.0, f64::INFINITY]);
        assert_eq!((odd.len(), odd.is_empty(), odd.max().to_bits()), (1, false, f64::to_bits(2.0)));
    }

    #[test]
    fn the_interval_holds_the_share_and_narrows() {
        let (low, high) = wilson(0, 100);
        assert!(low.abs() < 1e-9 && (0.03..0.04).contains(&high), "{low} {high}");
        let (low, high) = wilson(990, 1000);
        assert!((0.981..0.983).contains(&low) && (0.994..0.996).contains(&high), "{low} {high}");
    }

    #[test]
    fn ratios_are_taken_within_a_run() {
        // The machine was twice as slow in the second run, for both.
        let ratio = median_ratio(&[1.0, 2.0, 1.5], &[2.0, 4.0, 3.0]);
        assert_eq!(ratio.to_bits(), f64::to_bits(0.5));
    }
}
