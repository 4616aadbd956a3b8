//! Bars of numbers, as paths of an SVG. Pure.

use std::fmt::Write as _;

/// The picture's size, as the template has it.
const WIDTH: u64 = 600;
const HEIGHT: u64 = 100;
/// How much of its place a bar leaves free, one part in so many.
const GAP_PART: u64 = 6;

/// A path for each series: of each place a bar, the series on top of each other, the highest place as high as the picture, or
/// `full` where that is higher. Places with nothing have no bar, and where there is something it is seen.
pub(super) fn stacked_bars(series: &[Vec<u64>], full: u64) -> Vec<String> {
    let places = series.iter().map(Vec::len).max().unwrap_or_default();
    let sum = |place: usize| {
        series.iter().filter_map(|values| values.get(place)).fold(0_u64, |sum, value| sum.saturating_add(*value))
    };
    let highest = (0..places).map(sum).max().unwrap_or_default().max(full).max(1);
    let slot = WIDTH / (places.max(1) as u64);
    let mut below = vec![0; places];
    let mut paths = Vec::with_capacity(series.len());
    for values in series {
        let mut path = String::new();
        for (place, (value, below)) in values.iter().zip(&mut below).enumerate() {
            let height = scaled(*value, highest).min(HEIGHT - *below);
            if height == 0 {
                continue;
            }
            let (left, top) = (place as u64 * slot, HEIGHT - *below - height);
            let width = (slot - slot / GAP_PART).max(1);
            // Writing to a String cannot fail.
            let _ = write!(path, "M{left} {top}h{width}v{height}h-{width}z");
            *below += height;
        }
        paths.push(path);
    }
    paths
}

fn scaled(value: u64, highest: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(HEIGHT) / u128::from(highest.max(1));
    u64::try_from(scaled).unwrap_or(HEIGHT).max(u64::from(value > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_each_other_and_the_highest_fills_the_picture() {
        let bars = stacked_bars(&[vec![1, 0, 2], vec![1, 0, 2]], 0);
        assert_eq!(bars, ["M0 75h167v25h-167zM400 50h167v50h-167z", "M0 50h167v25h-167zM400 0h167v50h-167z"]);
    }

    #[test]
    fn a_scale_may_be_higher_than_all_bars() {
        assert_eq!(stacked_bars(&[vec![50]], 100), ["M0 50h500v50h-500z"]);
    }

    #[test]
    fn little_is_seen_and_nothing_is_not() {
        assert_eq!(stacked_bars(&[vec![1, 0], vec![u64::MAX, 0]], 0), ["M0 99h250v1h-250z", "M0 0h250v99h-250z"]);
        assert_eq!(stacked_bars(&[vec![0; 84]], 0), [""]);
        assert_eq!(stacked_bars(&[], 0), Vec::<String>::new());
        assert_eq!(stacked_bars(&[Vec::new()], 0), [""]);
    }
}
