//! Numbers that look random and are the same in every run.

/// A generator (`splitmix64`).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to one below the limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// From the first to the second, both included.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.next() % (last - first + 1)
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(bits) / 4_294_967_296.0
    }
}

/// How often each image is asked for: the second half as often as the first, the third a third as often, and so on (Zipf's
/// law with the exponent 1).
pub(crate) struct Popularity {
    /// For each image, the weights up to it, itself included.
    sums: Vec<f64>,
}

impl Popularity {
    pub(crate) fn new(images: u32) -> Self {
        let weights = (1..=images).map(|rank| 1.0 / f64::from(rank));
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    /// The number of an image.
    pub(crate) fn draw(&self, dice: &mut Dice) -> usize {
        let total = self.sums.last().copied().unwrap_or(0.0);
        let point = dice.fraction() * total;
        self.sums.partition_point(|sum| *sum <= point).min(self.sums.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_image_is_asked_for_about_twice_as_often_as_the_second() {
        let popularity = Popularity::new(5_000);
        let mut dice = Dice::new(1);
        let mut counts = [0_u32; 2];
        for _ in 0..100_000 {
            if let Some(count) = counts.get_mut(popularity.draw(&mut dice)) {
                *count += 1;
            }
        }
        // The sum of all weights is 9.09.
        assert!((10_500..11_500).contains(&counts[0]), "{counts:?}");
        assert!((5_000..6_000).contains(&counts[1]), "{counts:?}");
    }
}
