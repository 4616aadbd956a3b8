//! Medians and ranges.

/// The middle of a set of measurements and how far they went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one measurement.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "a spread of no measurements");
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        // The two middle ones are the same one when there is an odd number.
        let median = f64::midpoint(values[last / 2], values[last.div_ceil(2)]);
        Self { median, min: values[0], max: values[last] }
    }

    /// Of the ratios round by round: what disturbed the machine for a moment
    /// disturbed both sides of one round, and cancels out.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Self {
        Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
    }

    /// `median (min–max)` with so many decimals.
    pub(crate) fn show(&self, decimals: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_and_even() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).show(1), "2.0 (1.0–3.0)");
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).show(1), "2.5 (1.0–4.0)");
        assert_eq!(Spread::of([5.0]).show(0), "5 (5–5)");
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let spread = Spread::of_ratios(&[1.0, 20.0, 3.0], &[1.0, 10.0, 6.0]);
        assert_eq!(spread.show(2), "1.00 (0.50–2.00)");
    }
}
